"""The test suite: mirrors filterd/ name for name, and holds the real peers the tests talk to."""
