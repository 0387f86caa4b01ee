"""What integration tests stand on: real servers on free ports, installations, waiting with a deadline."""
