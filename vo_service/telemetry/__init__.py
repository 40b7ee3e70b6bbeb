"""What a process tells of itself: meters, log lines, traces."""
