"""The configuration as typed, frozen values: one class for each section, one field for each key.

Promises: an unknown key or a value of another type is an error, never ignored or guessed; times are seconds, sizes bytes, paths
absolute; nothing in a `Config` can be changed once it is made. `Config()` is what a file without a line means.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator

from filterd.daemon.control_keys import ControlKeys
from filterd.daemon.fields import (
    Bind,
    Count,
    Duration,
    ExistingPath,
    FilePath,
    Free,
    Listed,
    MapSource,
    Named,
    NameServer,
    Natural,
    Protocol,
    Proxy,
    RecordType,
    RedisServer,
    Scored,
    Sentinel,
    Servers,
    Size,
    Threshold,
    Timeout,
    TrustedProxy,
    nothing,
)
from filterd.daemon.milter_keys import MilterKeys
from filterd.daemon.origins import dotted
from filterd.daemon.schema_processes import Supervisor, Workers
from filterd.daemon.schema_reply import Conditions, Header, Headers, Log, SettingsMap
from filterd.daemon.section import Section
from filterd.daemon.stream_keys import StreamKeys

__all__ = [
    "Actions",
    "Composite",
    "Config",
    "CustomAction",
    "Dns",
    "FakeRecord",
    "ForcedAction",
    "Group",
    "Header",
    "History",
    "Http",
    "Limits",
    "Listener",
    "Log",
    "Map",
    "Redis",
    "RedisServers",
    "Results",
    "Rules",
    "Section",
    "SettingsMap",
    "Store",
    "Supervisor",
    "Symbol",
    "Workers",
]


class AnyListener(Section):
    """What every front door has. `timeout` is for reading one request and for writing one reply; `accept_proxy` are those who
    must say for whom a connection is.
    """

    protocol: Protocol
    bind: Annotated[Listed[Bind], Field(min_length=1)]
    max_connections: Count = 1000
    timeout: Timeout = 60.0
    keepalive_timeout: Duration = 60.0
    accept_proxy: Listed[TrustedProxy] = ()


class Listener(StreamKeys, MilterKeys, ControlKeys, AnyListener):
    """`[listen.NAME]`: a front door, with the keys of its protocol."""


class Rules(Section):
    """`[rules]`: rule files and folders of them; which rules, by name or glob, may run."""

    paths: Listed[ExistingPath] = ()
    enable: Listed[str] = ("*",)
    disable: Listed[str] = ()


class Limits(Section):
    """`[limits]`: what one message and one worker may use. A `burst_timeout` of 0 switches that guard off."""

    task_timeout: Timeout = 8.0
    message: Size = 50 * 2**20
    tasks: Count = 1000
    burst_timeout: Duration = 1.0
    soft_reject_on_timeout: bool = False


class FakeRecord(Section):
    """One of `[[dns.fake_records]]`: the answer to a question that is then not asked in the network."""

    name: str
    type: RecordType = "a"
    replies: Listed[str] = ()
    rcode: Literal["noerror", "nxdomain", "servfail", "refused", "formerr", "notimp", "timeout"] = "noerror"


class Dns(Section):
    """`[dns]`: no nameservers means those of /etc/resolv.conf; `cache` counts entries, `max_requests` is for one task."""

    nameservers: Servers[NameServer] = ()
    timeout: Timeout = 1.0
    retransmits: Natural = 5
    max_requests: Count = 64
    cache: Natural = 10_000
    fake_records: Listed[FakeRecord] = ()


class Http(Section):
    """`[http]`: what `http.request` does where the rule does not say; no `connect_timeout` means what `timeout` leaves."""

    timeout: Timeout = 5.0
    connect_timeout: Timeout | None = None
    proxy: Proxy | None = None
    tls_verify_host: bool = True
    tls_verify_peer: bool = True
    tls_ca_path: ExistingPath | None = None
    tls_client_cert: ExistingPath | None = None
    tls_client_key: ExistingPath | None = None

    @model_validator(mode="after")
    def _pair(self) -> "Http":
        if self.tls_client_key and not self.tls_client_cert:
            raise ValueError("tls_client_key is of no use without tls_client_cert")
        return self


class RedisServers(Section):
    """Where a Redis is and how to speak to it. `servers` is for reads and writes where the lists for these are empty."""

    servers: Servers[RedisServer] = ()
    read_servers: Servers[RedisServer] = ()
    write_servers: Servers[RedisServer] = ()
    sentinels: Servers[Sentinel] = ()
    cluster: bool = False
    db: Natural = 0
    username: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    tls: bool = False
    timeout: Timeout = 1.0

    @property
    def has_servers(self) -> bool:
        """Whether any server is named."""
        return bool(self.servers or self.read_servers or self.write_servers or self.sentinels)


class Redis(RedisServers):
    """`[redis]`, and in it `[redis.NAME]` for one module."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, RedisServers] = Field(init=False)

    def for_module(self, name: str) -> RedisServers | None:
        """What the module uses: its table alone where that names servers, else laid over [redis]; None without any server."""
        own = self.__pydantic_extra__.get(name)
        if own is not None and own.has_servers:
            return own
        if not self.has_servers:
            return None
        shared = {key: getattr(self, key) for key in RedisServers.model_fields}
        written = {key: getattr(own, key) for key in own.model_fields_set} if own is not None else {}
        return RedisServers.model_construct(**(shared | written))


class Actions(Section):
    """`[actions]`: from which score on an action is taken; None is never."""

    model_config = ConfigDict(populate_by_name=True)

    reject: Threshold = 15.0
    soft_reject: Threshold = Field(default=None, alias="soft reject")
    rewrite_subject: Threshold = Field(default=None, alias="rewrite subject")
    add_header: Threshold = Field(default=6.0, alias="add header")
    greylist: Threshold = 4.0

    @property
    def thresholds(self) -> dict[str, float]:
        """The enabled actions by their names on the wire ("add header"), the strictest first."""
        found = {field.alias or name: getattr(self, name) for name, field in Actions.model_fields.items()}
        return {name: score for name, score in found.items() if score is not None}


class Results(Section):
    """`[results]`: how findings are summed up and told."""

    subject: str = "*** SPAM *** %s"
    grow_factor: Annotated[float, Field(ge=1)] = 1.0
    unknown_score: float = 0.0


class CustomAction(Section):
    """`[custom_actions.NAME]`: an action of one's own; without a threshold only a rule can ask for it.

    `milter` is what an MTA is to do with the message: "discard" or "quarantine".
    """

    threshold: float | None = None
    milter: Literal["discard", "quarantine"] | None = None


class Symbol(Section):
    """`[symbols]` NAME: what is None leaves to the rule what it says of itself."""

    score: float | None = None
    group: str | None = None
    groups: Listed[str] = ()
    description: str | None = None
    one_shot: bool | None = None
    nshots: Count | None = None


class Group(Section):
    """`[groups.NAME]`: the most and the least that the symbols of a group add together. `one_shot` is for each of them."""

    max_score: Annotated[float, Field(ge=0)] | None = None
    min_score: Annotated[float, Field(le=0)] | None = None
    one_shot: bool = False
    description: str | None = None


class Map(Section):
    """`[maps.NAME]`: a table from elsewhere. With `key` and `symbol` each message is looked up in it.

    No `interval` is 5 s for a file and 5 min for a web address. Without a `source` it has what rules put into it.
    """

    source: MapSource | None = None
    type: Literal["set", "map", "glob", "regexp", "ip", "domain"] = "set"
    interval: Timeout | None = None
    max_size: Size = 64 * 2**20
    persist: bool = False
    key: str | None = None
    symbol: str | None = None
    symbols: Listed[str] = ()
    when: str | None = None
    score: float = 1.0
    group: str | None = None
    description: str | None = None

    @property
    def path(self) -> str | None:
        """The absolute path of the file, None for a web address."""
        source = self.source
        return source.removeprefix("file:") if source is not None and source.startswith("file:") else None

    @model_validator(mode="after")
    def _kept(self) -> "Map":
        if self.source is None and "type" not in self.model_fields_set:
            raise ValueError("source is missing: a file or a web address; or say the type of a map that rules put keys into")
        if self.type in ("glob", "regexp") and (self.source is None or self.persist):
            raise ValueError(f"a {self.type} map is what its source has: no rule can change single keys, so none are kept")
        if self.source is None and self.interval is not None:
            raise ValueError("interval is of no use without a source")
        return self

    @model_validator(mode="after")
    def _pair(self) -> "Map":
        if (self.key is None) != (self.symbol is None):
            raise ValueError("key and symbol go together: what is looked up, and what it gives")
        if self.symbol is None and (self.symbols or self.when is not None):
            raise ValueError("symbols and when are of no use without key and symbol")
        return self


class Composite(Section):
    """`[composites.NAME]`: a symbol for a condition over other symbols, and what becomes of their scores."""

    expression: str
    enabled: bool = True
    score: float = 0.0
    policy: Literal["default", "remove_all", "remove_weight", "remove_symbol", "leave"] = "default"
    group: str | None = None
    groups: Listed[str] = ()
    description: str | None = None


class ForcedAction(Section):
    """`[force_actions.NAME]`: an action for a condition, whatever the score says."""

    expression: str
    action: str
    message: str | None = None
    subject: str | None = None
    require_action: Listed[str] = ()
    honor_action: Listed[str] = ()
    least: bool = False
    priority: Annotated[int, Field(ge=0, le=3)] = 1


class Store(Section):
    """`[store]`: no `path` means that nothing is kept over a restart."""

    path: FilePath | None = None


class History(Section):
    """`[history]`: how many of the last messages are shown by control listeners; 0 keeps none."""

    rows: Natural = 200


class Config(Section):
    """The whole configuration."""

    listen: Named[Listener] = Field(default_factory=nothing)
    workers: Workers = Workers()
    supervisor: Supervisor = Supervisor()
    rules: Rules = Rules()
    limits: Limits = Limits()
    dns: Dns = Dns()
    http: Http = Http()
    redis: Redis = Redis()
    actions: Actions = Actions()
    custom_actions: Named[CustomAction] = Field(default_factory=nothing)
    results: Results = Results()
    symbols: Named[Scored[Symbol]] = Field(default_factory=nothing)
    groups: Named[Group] = Field(default_factory=nothing)
    conditions: Conditions = Field(default_factory=nothing)
    composites: Named[Composite] = Field(default_factory=nothing)
    force_actions: Named[ForcedAction] = Field(default_factory=nothing)
    settings: Free[Any] = Field(default_factory=nothing)
    settings_map: SettingsMap | None = None
    modules: Free[Any] = Field(default_factory=nothing)
    maps: Named[Map] = Field(default_factory=nothing)
    headers: Headers = Field(default_factory=nothing)
    log: Log = Field(default_factory=Log)
    store: Store = Store()
    history: History = History()

    _origins: Mapping[str, str] = PrivateAttr(default_factory=nothing)

    @field_validator("listen")
    @classmethod
    def _bound_once(cls, listeners: Mapping[str, Listener]) -> Mapping[str, Listener]:
        owner: dict[str, str] = {}
        for name, listener in listeners.items():
            for where in listener.bind:
                place = where.path or str(where)
                if place in owner and (where.path or where.port):
                    raise ValueError(f"{place} is bound twice, by {dotted((owner[place],))} and by {dotted((name,))}")
                owner[place] = name
        return listeners

    def model_post_init(self, context: Mapping[str, str] | None, /) -> None:
        """The context of the validation is who wrote each dotted key."""
        self._origins = MappingProxyType(dict(context or {}))

    def origin(self, key: str) -> str:
        """Who wrote a dotted key (`limits.tasks`, `actions."add header"`): a file, an option, else "default"."""
        return self._origins.get(key, "default")
