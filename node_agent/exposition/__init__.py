"""What Prometheus reads of this node: `/metrics`, over HTTP, made when it is asked for and at no other time."""
