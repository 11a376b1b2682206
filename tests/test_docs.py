"""What the pages promise beyond their examples: links, completeness, and that the tutorial is the demo."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
DOCS = HOUSE / "docs"
WRITTEN = (page for page in DOCS.rglob("*.md") if not {"_build", "benchmarks"} & {*page.relative_to(DOCS).parts})
PAGES = sorted([*HOUSE.glob("*.md"), *WRITTEN])
FENCE = re.compile(r"^```(\S*).*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "sh", "text", "{toctree}", "{eval-rst}", "{include}"}


def page_id(page: Path) -> str:
    return page.relative_to(HOUSE).as_posix()


def fences(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links(page: Path) -> None:
    """Every relative link leads to a file."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_blocks(page: Path) -> None:
    """Every block is marked as one of a few kinds, so that none escapes being run by a misspelt mark."""
    assert {language for language, _ in fences(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_lines(page: Path) -> None:
    """Lines fit the page, except those of tables."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_every_page_is_reachable() -> None:
    """Every page of docs/ stands in a toctree."""
    listed = {DOCS / "index.md"}
    for page in PAGES:
        for language, body in fences(page):
            if language == "{toctree}":
                names = [line for line in body.splitlines() if line and not line.startswith(":")]
                listed |= {page.parent / f"{name}.md" for name in names}
    assert listed == {page for page in PAGES if DOCS in page.parents}


@pytest.mark.parametrize(
    "room",
    [
        "loaders",
        "work_pool",
        "hypersequence",
        "sequences",
        "typed_files",
        "pipeline",
        "datasets",
        "remote",
        "config",
        "data_source",
        "sampling",
        "errors",
    ],
)
def test_reference_is_complete(room: str) -> None:
    """Every public name of a room has an entry on its page."""
    page = (DOCS / "reference" / f"{room}.md").read_text(encoding="utf-8")
    entries = set(re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)(?:\(\))?$", page, re.MULTILINE))
    assert entries == set(importlib.import_module(f"batchup.{room}").__all__)


def test_readme_has_ten_examples() -> None:
    """README shows ten numbered examples, each with code."""
    readme = (HOUSE / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^\*\*(\d+)\. [^*]+\*\*.*?^```python$", readme, re.MULTILINE | re.DOTALL)
    assert [int(number) for number in examples] == list(range(1, 11))


def test_house_is_true_to_the_package() -> None:
    """The picture of the house names the rooms that there are, and those that are planned are not there."""
    there, _, planned = (DOCS / "explanation" / "house.md").read_text(encoding="utf-8").partition("## What comes next")
    drawn = {name for name, _ in re.findall(r"^  (\w+)(/|\.py) ", there, re.MULTILINE)}
    rooms = {
        path.stem for path in (HOUSE / "batchup").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert drawn - {"__init__"} == {room for room in rooms if not room.startswith("_")}
    assert not {name for name, _ in re.findall(r"^  (\w+)(/|\.py) ", planned, re.MULTILINE)} & rooms


class WithoutRemarks(ast.NodeTransformer):
    """Drop annotations and docstrings."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._bare(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._bare(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno)

    def _bare(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        if ast.get_docstring(node) is not None:
            del node.body[0]
        return self.generic_visit(node)


def statements(source: str) -> set[str]:
    code = ast.unparse(ast.fix_missing_locations(WithoutRemarks().visit(ast.parse(source))))
    return {line.strip() for line in code.splitlines()}


def test_tutorial_is_the_demo() -> None:
    """The statements of the tutorial are those of the demo, except for a few that load, count or shorten."""
    blocks = [body for language, body in fences(DOCS / "tutorial.md") if language == "python" and ">>>" not in body]
    tutorial = statements("\n".join(blocks))
    demo = statements((HOUSE / "batchup" / "demo.py").read_text(encoding="utf-8"))
    own = {line for line in tutorial - demo if "import" not in line}
    assert own == {
        "data = datasets.load_digits()",
        "X, y = (data.images.astype(np.float32) / 16, data.target)",
        "digits = ArrayDataSource([X[train], y[train]], sampler=sampler)",
        "train_ds = digits.map(augment)",
        "epochs = 4",
        "for epoch in range(epochs):",
        "with tqdm(islice(batches, n_batches), f'epoch {epoch + 1:2d}/{epochs}', n_batches) as bar:",
        "np.add.at(counts, (y[test], predicted), 1)",
        "batches = train_ds.batch_iterator(BATCH_SIZE, shuffle=SEED, epoch=4)",
        "for batch_X, batch_y in islice(batches, 20):",
        "network.train(batch_X, batch_y, rate=0.01)",
        "save(network, 4, batches.state_dict())",
        "other = Network()",
        "epoch, state = load(other)",
        "resumed = train_ds.batch_iterator(BATCH_SIZE, shuffle=SEED, epoch=epoch)",
        "resumed.load_state_dict(state)",
    }
