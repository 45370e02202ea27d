"""Measurements, each beside the peers that people would otherwise use. Every run keeps its raw results under bench/raw/."""
