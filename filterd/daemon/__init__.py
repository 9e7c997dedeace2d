"""The process: configuration, worker, logs."""
