"""Engine kinds: how one is started, reached and read. The supervisor is the only caller."""
