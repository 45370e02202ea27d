"""Facts about the fleet: frozen, pure, and the only language that policies understand."""
