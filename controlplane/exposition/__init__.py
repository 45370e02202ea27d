"""What Prometheus reads of the control plane: `/metrics`, over HTTP. The only package of it that knows prometheus_client."""
