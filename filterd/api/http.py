"""HTTP for rules: `http.request` for straight code and callbacks, `http.query` for Kamailio's routes. `http` in rule files."""

from filterd.api.http_query import Handle, query
from filterd.api.http_request import request, statistics
from filterd.api.http_routes import Reply, route
from filterd.api.http_settings import Settings
from filterd.net.http_reply import Elapsed, Headers, Response

__all__ = ["Elapsed", "Handle", "Headers", "Reply", "Response", "Settings", "query", "request", "route", "statistics"]
