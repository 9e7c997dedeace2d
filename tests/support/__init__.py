"""What several tests stand on: real partner programs, a watch on the hub, the check of coverage by own tests."""
