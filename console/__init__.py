"""What operators use: the `stoker` command, the Textual console, and the link to the control plane that both share."""
