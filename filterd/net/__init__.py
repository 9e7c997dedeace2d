"""The only folder that opens sockets and waits: greenlets, streams, listeners, pools, resolvers."""
