"""gRPC: servicers that only translate, codecs, and one table from errors to statuses."""
