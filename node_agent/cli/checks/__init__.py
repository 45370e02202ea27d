"""What `stoker-agent doctor` looks at. Each module has looks, which do I/O, and judgements, which are functions of facts."""
