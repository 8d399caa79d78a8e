"""idaq policy export | show | serve"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idaq.core.errors import UsageError

from .output import Json, Plugin, Root, listing, path_argument, path_option, print_json, print_table, say, working

if TYPE_CHECKING:
    from idaq.core.registry import Registry
    from idaq.core.types import Floats
    from idaq.deploy.document import PolicyDocument, PolicySource
    from idaq.learn.algorithm import Agent

app = typer.Typer(no_args_is_help=True, help="Take a policy out of a run, look at it, serve it to a system.")
Folder = Annotated[Path, path_argument(metavar="FOLDER", help="A policy folder, as idaq policy export writes it.")]


def _formats() -> "Registry[Any]":
    from idaq.deploy.formats import POLICY_FORMATS

    return POLICY_FORMATS


@app.command(cls=listing(_formats))
def export(
    run: Annotated[Path, path_argument(metavar="RUN", help="A run directory.")],
    out: Annotated[Path, path_option(metavar="FOLDER", help="The new folder.")],
    to: Annotated[str, typer.Option(metavar="NAMES", help="Comma-separated: what it is to run in.")] = "npz",
    session: Annotated[
        Path | None, path_option(metavar="FILE", help="The policy that this session deploys now.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="The belief of a task's offline data, by task id or index.")
    ] = None,
    latent: Annotated[
        str | None,
        typer.Option(metavar="N|FILE", help="A training task's belief by its index, or a JSON or .npy file."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a policy folder that is there, with all that is in it.")
    ] = False,
    plugin: Plugin = [],  # noqa: B006 - Typer copies it
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write what an agent does under one belief into a folder that runs without idaq, and says how.

    Exactly one of --session, --task and --latent says which belief. A training task's is taken from the run's prior;
    another task's is inferred from the dataset. The exported actions are held against the agent's own first.

    [bold]Formats[/bold]

    NAMES
      package.module:thing: your own

    [bold]Examples[/bold]

      idaq policy export runs/push --session push.session --to onnx --out policy
      idaq policy export runs/point --task goal-003 --to npz,torch --out policy
      idaq policy export runs/point --latent 3 --out policy
      idaq policy export runs/point --latent belief.json --out policy
    """
    from idaq.core.config import to_mapping
    from idaq.deploy.save import save_policy
    from idaq.learn.checkpoint import load_agent

    run, names = run.expanduser(), [name.strip() for name in to.split(",") if name.strip()]
    if sum(given is not None for given in (session, task, latent)) != 1:
        raise UsageError(
            "which belief is the policy to act under?", hint="exactly one of --session FILE, --task TASK, --latent N"
        )
    with working(f"exporting {run}"):
        agent = load_agent(run, allow=plugin)
        if session is not None:
            policy, source = _of_session(run, agent, session, plugin)
        else:
            belief, source = _of_belief(run, agent, task, latent, root)
            policy = agent.policy(belief[None])
        document = save_policy(out, agent, policy, formats=names, source=source, force=force)
    if as_json:
        print_json({"folder": str(out), **to_mapping(document)})
    else:
        say(f"{out}: the policy {document.source.belief if document.source else ''}", *_told(document))


def _of_session(run: Path, agent: "Agent", session: Path, allow: list[str]) -> tuple[Any, "PolicySource"]:
    from idaq.adapt.session import Session
    from idaq.deploy.beliefs import source_of

    deployed = Session.load(session, agent, allow=allow).deploy()
    return deployed.policy, source_of(run, deployed.source.belief if deployed.source else "of a session")


def _of_belief(
    run: Path, agent: "Agent", task: str | None, latent: str | None, root: Path | None
) -> tuple["Floats", "PolicySource"]:
    from idaq.deploy.beliefs import belief_of_latent, belief_of_task, source_of

    given = belief_of_task(run, agent, task, root) if task is not None else belief_of_latent(agent, latent or "")
    return given.numbers, source_of(run, given.words)


@app.command()
def show(folder: Folder, as_json: Json = False) -> None:
    """Check a policy folder, and say what it is: sizes, bounds, belief, agent, files.

    [bold]Examples[/bold]

      idaq policy show policy
      idaq policy show policy --json
    """
    from idaq.core.config import to_mapping
    from idaq.deploy.read import read_policy

    policy = read_policy(folder)
    document, dense = policy.document, policy.dense
    if as_json:
        print_json(to_mapping(document))
        return
    say(f"{folder}: the policy {document.source.belief if document.source else 'of an unknown belief'}")
    say(*_told(document))
    rows = [[str(n), f"{a:g}", f"{b:g}"] for n, (a, b) in enumerate(zip(*_spread(dense), strict=True))]
    print_table("observation, as in training", ["number", "mean", "standard deviation"], rows)
    bounds = zip(document.action_low, document.action_high, strict=True)
    rows = [[str(n), f"{low:g}", f"{high:g}"] for n, (low, high) in enumerate(bounds)]
    print_table("action", ["number", "low", "high"], rows)


def _spread(dense: Any) -> tuple[list[float], list[float]]:
    return dense.observation_mean.tolist(), dense.observation_std.tolist()


def _told(document: "PolicyDocument") -> list[str]:
    dataset = document.source.dataset_id if document.source else None
    return [
        f"{document.observation_size} numbers of observation -> {document.action_size} of action, "
        f"{len(document.activations)} layers ({', '.join(document.activations)})",
        f"agent: {document.algorithm}, seed {document.train_seed}, {document.train_steps} steps, "
        f"digest {document.agent_digest[:16]}; trained on {dataset or 'unknown'}",
        f"written for {', '.join(document.formats) or 'idaq alone'} by idaq {document.idaq}, {document.created}; "
        f"README.md there says how it runs",
        f"largest difference from the agent's own actions: {document.largest_difference:.1e} half-widths",
    ]


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Where it listens; beyond 127.0.0.1 anybody may ask it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    socket: Annotated[
        Path | None, path_option(metavar="PATH", help="A Unix socket in place of host and port, of this user alone.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer observations with actions over HTTP or a Unix socket, until Ctrl-C or SIGTERM.

    GET / says what the policy is, GET /health that it is there. POST /act takes {"observation": [...]} or
    {"observations": [[...], ...]}; POST /reset begins an episode. Another number of numbers, NaN and what is no number
    get status 422 and the reason in words. There is no password: whoever reaches it may ask. --json prints the
    address as soon as it listens.

    [bold]Examples[/bold]

      idaq policy serve policy
      idaq policy serve policy --socket /tmp/policy.sock
      curl -s http://127.0.0.1:8000/act --json '{"observation": [0.1, 0.2]}'
    """
    from idaq.deploy.read import read_policy
    from idaq.deploy.server import is_loopback, listen, listen_unix
    from idaq.deploy.server import serve as run

    policy = read_policy(folder)
    with listen_unix(socket) if socket is not None else listen(host, port) as listening:
        address = listening.address
        if not is_loopback(listening):
            say(f"warning: {address} can be reached from outside this machine, and asks for no password", err=True)
        if as_json:
            print_json({"folder": str(folder), "address": address})
            sys.stdout.flush()
        say(f"serving {folder} on {address}; Ctrl-C stops it", err=True)
        run(policy, listening)
    say("stopped", err=True)
