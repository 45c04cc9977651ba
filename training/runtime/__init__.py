"""The edge of every command line, tasks over ranks, devices: what all packages share."""
