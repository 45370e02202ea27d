"""Many nodes that are not there: their sessions in one process, their engines driven by the engine model."""
