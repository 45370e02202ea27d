"""The screens of the console: each shows the view that the app hands down, and posts messages upwards."""
