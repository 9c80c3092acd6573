"""The shape of the package: who imports whom, how large things are, what starts fast."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from spice_keras.options import SOURCES

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = _ROOT / "spice_keras"
_FILES = sorted(_PACKAGE.rglob("*.py"))

# A room imports only rooms before it; those of `_BOTTOM` stand side by side.
_BOTTOM = {
    "csv_cells",
    "errors",
    "extras",
    "files",
    "options",
    "progress",
    "registration",
    "runtime",
    "scratch",
}
_ORDER = (
    "algorithm",
    "clustering",
    "metrics",
    "augment",
    "shards",
    "data",
    "backbones",
    "words",
    "models",
    "training",
    "heads",
    "groups",
    "config",
    "run",
    "serving",
    "engines",
    "report",
    "stages",
    "organize",
    "review",
    "pipeline",
    "ablations",
    "commands",
    "cli",
)
_ALLOWED: dict[str, set[str]] = {
    **{room: {"errors"} for room in _BOTTOM},
    **{room: _BOTTOM | set(_ORDER[:place]) for place, room in enumerate(_ORDER)},
}
_ALLOWED["config"] = _BOTTOM
_ALLOWED["files"] = {"errors", "csv_cells"}
_ALLOWED["scratch"] = {"files"}
# Beside the run: doors of their own, to the heads and to what the models train on.
for _door in ("estimator", "views"):
    _ALLOWED[_door] = _BOTTOM | set(_ORDER[: _ORDER.index("config")])
_LARGEST_BODY, _MOST_PARAMETERS = 40, 7
_HEAVY = ("tensorflow", "keras", "keras_cv", "sklearn", "scipy", "matplotlib")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _room(path: Path) -> str:
    """The room a file belongs to: its folder, or itself at the top of the package."""
    return path.relative_to(_PACKAGE).with_suffix("").parts[0]


def _imports(path: Path) -> set[str]:
    """Every module of the package a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports from the root"
            base = node.module or ""
            found.add(base)
            for alias in node.names:
                below = _PACKAGE.parent.joinpath(*base.split("."), alias.name)
                if below.is_dir() or below.with_suffix(".py").is_file():
                    found.add(f"{base}.{alias.name}")
    return {name for name in found if name.split(".")[0] == "spice_keras"}


def _rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in _imports(path) if "." in name} - {_room(path)}


def _name(path: Path) -> str:
    return str(path.relative_to(_PACKAGE))


def _where(broken: Callable[[Path], object]) -> dict[str, object]:
    """The files that break a rule, with what breaks it."""
    found = {_name(path): broken(path) for path in _FILES}
    return {name: what for name, what in found.items() if what}


def test_every_room_has_its_place() -> None:
    rooms = {_room(path) for path in _FILES} - {"__init__"}
    assert rooms == set(_ALLOWED)


def test_imports_go_one_way() -> None:
    allowed = _ALLOWED | {"__init__": set(_ALLOWED)}
    assert _where(lambda path: _rooms(path) - allowed[_room(path)]) == {}


def test_the_reading_of_imports_sees_every_kind() -> None:
    """Without this, a change of `_imports` could let the other tests see nothing."""
    # inside functions, and for type checking
    assert "config" in _rooms(_PACKAGE / "commands" / "stages.py")
    assert "data" in _rooms(_PACKAGE / "stages" / "evaluate.py")
    evaluate = _imports(_PACKAGE / "stages" / "evaluate.py")
    assert {"spice_keras.stages.labels", "spice_keras.run.context"} <= evaluate
    assert "spice_keras.augment.color" in _imports(_PACKAGE / "augment" / "policies.py")


def test_only_a_run_and_its_stages_read_the_configuration() -> None:
    readers = {_room(path) for path in _FILES if "config" in _rooms(path)} - {"__init__"}
    assert readers == {"run", "stages", "review", "pipeline", "ablations", "commands"}


def _circles(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves in the end: each strongly connected group, once."""
    reached: dict[str, set[str]] = {}
    for module in imports:
        seen, waiting = set(), [*imports[module]]
        while waiting:
            other = waiting.pop()
            if other not in seen:
                seen.add(other)
                waiting += imports.get(other, ())
        reached[module] = seen
    return sorted(module for module, seen in reached.items() if module in seen)


def _module(path: Path) -> str:
    parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside functions count; the package's own `__init__` only names the lazy ones."""
    imports = {_module(path): _imports(path) for path in _FILES}
    del imports["spice_keras"]
    # `from package import module` names both; only the module is meant.
    assert _circles(imports) == []


def test_a_circle_would_be_seen() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def test_only_sources_and_evaluation_import_the_labels() -> None:
    readers = [_name(path) for path in _FILES if "spice_keras.data.labels" in _imports(path)]
    sources = {kind.opened_by.partition(":")[0] for kind in SOURCES.values()}
    in_data = {f"data/{name.rpartition('.')[2]}.py" for name in sources} | {"data/sources.py"}
    assert set(readers) == in_data | {"stages/evaluate.py", "stages/labels.py"}


def _outside(path: Path, method: str) -> Iterator[ast.AST]:
    """Everything in a file but its imports and the functions of this name."""
    waiting: list[ast.AST] = [_tree(path)]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            skipped = isinstance(child, ast.Import | ast.ImportFrom) or (
                isinstance(child, ast.FunctionDef) and child.name == method
            )
            if not skipped:
                waiting.append(child)


def _label_functions(path: Path) -> set[str]:
    """What a file imports from data/labels.py, the type of labels left out."""
    found = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "spice_keras.data.labels":
            found |= {alias.asname or alias.name for alias in node.names}
    return found - {"Labels"}


def _labels_in_hand(path: Path) -> list[str]:
    """Where a file of data/ touches labels outside `read_labels`."""
    touched, functions = [], _label_functions(path)
    for node in _outside(path, "read_labels"):
        if isinstance(node, ast.Name) and node.id in functions:
            touched.append(node.id)
        if isinstance(node, ast.Attribute) and node.attr == "target":  # of scikit-learn's digits
            touched.append(node.attr)
        if isinstance(node, ast.Call):
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            touched += [word for word in words if word in {"labels", "read_labels"}]
    return touched


def test_a_source_touches_labels_in_one_method() -> None:
    sources = [path for path in (_PACKAGE / "data").glob("*.py") if path.stem != "labels"]
    assert {_name(path): found for path in sources if (found := _labels_in_hand(path))} == {}
    assert sum(bool(_label_functions(path)) for path in sources) == len(SOURCES)


def _readers_of_labels(path: Path) -> set[str]:
    """How a file gets at a source's `read_labels`: as an attribute, or by its name as text."""
    found = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute) and node.attr == "read_labels":
            found.add("attribute")
        if isinstance(node, ast.Constant) and node.value == "read_labels":
            found.add("text")
    return found


def test_one_file_asks_a_source_for_its_labels() -> None:
    assert _where(_readers_of_labels) == {"stages/labels.py": {"attribute"}}


def test_few_read_labels() -> None:
    """Evaluation; ablations, which judge; and the one place that trains on labels if asked to."""
    readers = [_name(path) for path in _FILES if "spice_keras.stages.labels" in _imports(path)]
    assert readers == ["ablations/ablate.py", "stages/evaluate.py", "stages/true_labels.py"]


def test_a_forbidden_look_at_labels_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "from spice_keras.data.labels import Labels, named_labels\n"
        "class Source:\n"
        "    def items(self) -> Labels:\n"
        "        digits.target, read_array(path, 'labels'), getattr(self, 'read_labels')\n"
        "        return named_labels(self.read_labels())\n"
        "    def read_labels(self):\n"
        "        return named_labels(read_array(path, 'labels'))\n"
    )
    assert sorted(_labels_in_hand(path)) == ["labels", "named_labels", "read_labels", "target"]
    assert _readers_of_labels(path) == {"attribute", "text"}


def test_few_import_the_labels_on_request() -> None:
    """SPICE-Semi, inside the branch that was asked; the pipeline, to refuse before training."""
    readers = [_name(path) for path in _FILES if "spice_keras.stages.true_labels" in _imports(path)]
    assert readers == ["pipeline.py", "stages/semi.py"]


@pytest.mark.parametrize("room", ["algorithm", "metrics"])
def test_mathematics_reads_no_files(room: str) -> None:
    for path in (_PACKAGE / room).glob("*.py"):
        names = {node.id for node in ast.walk(_tree(path)) if isinstance(node, ast.Name)}
        assert not names & {"open", "Path"}, path


def _calls(path: Path, name: str) -> list[int]:
    """The lines on which a function of this plain name is called."""
    calls = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)]
    return [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == name]


def test_nothing_prints() -> None:
    assert _where(lambda path: _calls(path, "print")) == {}


def test_nothing_asserts() -> None:
    """`python -O` leaves assertions out."""
    assert (
        _where(lambda path: [n.lineno for n in ast.walk(_tree(path)) if isinstance(n, ast.Assert)])
        == {}
    )


def test_every_file_is_named_after_what_is_in_it() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "stuff"}
    files = [*_FILES, *sorted((_ROOT / "tests").rglob("*.py"))]
    assert not [path for path in files if vague & {path.stem, *path.stem.split("_")}]
    assert not [path for path in files if vague & set(path.relative_to(_ROOT).parts)]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_every_function_is_short() -> None:
    def long(path: Path) -> dict[str, int]:
        sizes = {function.name: _body_lines(function) for function in _functions(path)}
        return {name: lines for name, lines in sizes.items() if lines > _LARGEST_BODY}

    assert _where(long) == {}


def _public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions, classes and methods; what lies inside a function is its own affair."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


# Their libraries want every argument by name: `get_config` of Keras, `get_params` of scikit-learn.
_FLAT = {"MoCo", "SemanticClustering", "SpiceSelf", "SpiceSemi", "SpiceClusterer"}
_DATA = {"np.ndarray", "tf.Tensor", "npt.ArrayLike", "Sequence[np.ndarray]", "list[np.ndarray]"}


def _num_parameters(function: ast.FunctionDef) -> int:
    """Parameters beside the object itself and data."""
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    own = [one for one in every if one.arg not in ("self", "cls")]
    return sum(one.annotation is None or ast.unparse(one.annotation) not in _DATA for one in own)


def _wide(path: Path) -> dict[str, int]:
    """Public functions and constructors with more parameters than a reader holds in mind."""
    found = {}
    for node in _public(_tree(path).body):
        called = node
        if isinstance(node, ast.ClassDef):
            inits = [one for one in node.body if getattr(one, "name", "") == "__init__"]
            called = inits[0] if inits and node.name not in _FLAT else None
        if isinstance(called, ast.FunctionDef) and _num_parameters(called) > _MOST_PARAMETERS:
            found[node.name] = _num_parameters(called)
    return found


def test_no_public_function_takes_many_parameters() -> None:
    assert _where(_wide) == {}


def test_everything_public_is_documented() -> None:
    def bare(path: Path) -> list[str]:
        found = [node.name for node in _public(_tree(path).body) if not ast.get_docstring(node)]
        return found if ast.get_docstring(_tree(path)) else ["the module itself", *found]

    assert _where(bare) == {}


def test_the_rules_see_what_breaks_them(tmp_path: Path) -> None:
    source = "def public(a):\n" + "    a += 1\n" * 41 + "    print(a)\nclass Public: ...\n"
    path = tmp_path / "bad.py"
    path.write_text(source)
    assert _calls(path, "print") == [43]
    assert [_body_lines(function) for function in _functions(path)] == [42]
    assert [node.name for node in _public(_tree(path).body)] == ["public", "Public"]
    wide = tmp_path / "wide.py"
    wide.write_text(
        "def f(x: np.ndarray, a, b, c, d, e, f, g): ...\ndef h(*, a, b, c, d, e, f, g, i): ..."
    )
    assert _wide(wide) == {"h": 8}


def _heavy_after(code: str, cwd: Path) -> list[str]:
    """Run code in a process of its own and return the heavy modules it imported."""
    report = f"import json, sys; print(json.dumps([m for m in {_HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True, text=True, check=False, timeout=120, cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    heavy: list[str] = json.loads(done.stdout.splitlines()[-1])
    return heavy


_COMMAND = """
from spice_keras.cli import main
main({arguments!r}, standalone_mode=False)
"""


@pytest.mark.parametrize(
    "code",
    [
        "import spice_keras; spice_keras.load_config, spice_keras.RunConfig",
        _COMMAND.format(arguments=["--help"]),
        _COMMAND.format(arguments=["configs"]),
        _COMMAND.format(arguments=["run", "--dry-run"]),
        _COMMAND.format(arguments=["run", "--images", "photos", "--clusters", "2", "--dry-run"]),
    ],
    ids=["import", "help", "configs", "dry-run of digits", "dry-run of a folder"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(9):
        (tmp_path / "photos" / f"{number}.png").write_bytes(b"x")
    assert _heavy_after(code, tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_heavy_import_would_be_seen(tmp_path: Path) -> None:
    assert _heavy_after("import scipy", tmp_path) == ["scipy"]
