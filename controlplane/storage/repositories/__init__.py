"""One small class per kind of fact. Each takes the transaction's connection, returns frozen facts, decides nothing."""
