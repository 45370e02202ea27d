"""Where a request goes: filters leave engines out, costs weigh the rest in seconds, a picker orders them."""
