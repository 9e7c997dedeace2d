"""Rules: how they are marked, loaded, run and judged."""
