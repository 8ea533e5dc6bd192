"""What can be read off test code before it runs: the names it needs, and what a program may do to its data.

`free_names`: names that the code uses and does not define. `prepared`: the code as it is run, in which

1. what a program does to an argument happens to the test's own object only where the test asks for that
   (`sort(data)` as a statement; `k = compact(data)` and then `data[:k] == [1, 2]`). In `f(data) == sorted(data)` the
   test computes what it expects from its data, and a program that empties its argument must not decide that;
2. `assert x` refuses an object of the program's own class, which may call itself true or false as it likes;
3. `type(x)` and `x.__class__` are the class that such an object has in the program.

Runs inside the jail too: standard library only.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

_LEAVES = (ast.Constant, ast.Load, ast.Store, ast.Del)
_OF_PLAIN_VALUES = [frozenset(dir(kind)) for kind in (str, bytes, list, dict, set, tuple, int, float, complex)]
MIRROR, TRUTH, TYPE = "_rlvr_mirror", "_rlvr_truth", "_rlvr_type"
"""Names in the prepared code: of a call whose arguments the program may change, of what is asserted, of `type(x)`."""


def walk(tree: ast.AST, closed: tuple[type, ...] = ()) -> Iterator[ast.AST]:
    """The nodes of a tree in the order of the text, outer ones first. Constants are left out (megabytes of test data),
    and so is what is inside nodes of a type in `closed`."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if node is not tree and isinstance(node, closed):
            continue
        for name in reversed(node._fields):
            value = getattr(node, name, None)
            if type(value) is list:
                stack += [part for part in reversed(value) if isinstance(part, ast.AST) and type(part) not in _LEAVES]
            elif isinstance(value, ast.AST) and type(value) not in _LEAVES:
                stack.append(value)


def bound_names(tree: ast.AST) -> set[str]:
    """Names that the code binds, in whatever scope."""
    names: set[str] = set()
    for node in walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
    return names


def free_names(tree: ast.AST) -> set[str]:
    """Names that the code uses, does not bind, and that are not built in."""
    used = {node.id for node in walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return {name for name in used - bound_names(tree) if not hasattr(builtins, name) and name != "__file__"}


def star_imports(tree: ast.AST) -> set[str]:
    """Modules from which everything is imported."""
    return {node.module or "" for node in walk(tree) if isinstance(node, ast.ImportFrom)
            and any(alias.name == "*" for alias in node.names)}


def needed_modules(tree: ast.AST) -> set[str]:
    """Modules that the code imports, less those whose absence it is prepared for."""
    caught = {inner for node in walk(tree) if isinstance(node, ast.Try) and node.handlers
              for part in node.body for inner in walk(part)}
    names: set[str] = set()
    for node in walk(tree):
        if node in caught:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def looks_at_output(code: str) -> bool:
    """Whether test code may look at what the program prints: else that goes nowhere."""
    return "stdout" in code or "capsys" in code


def derived_classes(tree: ast.AST, programs: set[str]) -> list[str]:
    """Classes of the test code that are derived from one of the program's, whose names are `programs`."""
    return [node.name for node in walk(tree) if isinstance(node, ast.ClassDef)
            and any(_root_of(base) in programs | {"solution"} for base in node.bases)]


def classes(tree: ast.AST) -> frozenset[str]:
    """Names in capitals that the code uses as classes of the program's, and not as functions, as in `Sum(x) == [1]`.

    It calls them without arguments, asks them, or what calling them gave, for attributes that no plain value has, or
    none has together (`find` and `union`), or asks whether something is an instance of them.
    """
    calls: dict[str, ast.Call] = {}
    for node in walk(tree):
        pairs = [(node.target, node.value)] if isinstance(node, ast.AnnAssign | ast.NamedExpr) else (
            [(target, node.value) for target in node.targets] if isinstance(node, ast.Assign) else
            [(node.optional_vars, node.context_expr)] if isinstance(node, ast.withitem) else [])
        calls.update({_dotted(target): call for target, call in pairs if target and isinstance(call, ast.Call)})
    found: set[str] = set()
    asked: dict[tuple[str, str | ast.expr], set[str]] = {}
    for node in walk(tree):
        if isinstance(node, ast.Attribute):
            call = node.value if isinstance(node.value, ast.Call) else calls.get(_dotted(node.value))
            name, value = _name_of(call.func if call else node.value), _dotted(node.value) or node.value
            asked.setdefault((name, value), set()).add(node.attr)
        elif isinstance(node, ast.Call) and _name_of(node.func) in ("isinstance", "issubclass", "assertIsInstance"):
            found |= {_name_of(part) for kind in node.args[1:2] for part in walk(kind) if isinstance(part, ast.expr)}
        elif isinstance(node, ast.Call) and not (node.args or node.keywords):
            found.add(_name_of(node.func))
    found |= {name for (name, _), attributes in asked.items() if not any(map(attributes.issubset, _OF_PLAIN_VALUES))}
    found |= {name for other, name in _other_names(tree) if other in found - {""}}
    return frozenset(name for name in found if name[:1].isupper())


def _other_names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(`new`, `Vec`) for `new = Vec`, `import Vec as new` and `check(Vec)` with a `def check(new)`."""
    parameters = {node.name: [parameter.arg for parameter in node.args.args] for node in walk(tree)
                  if isinstance(node, ast.FunctionDef)}
    for node in walk(tree):
        if isinstance(node, ast.Assign):
            yield from ((_dotted(target), _name_of(node.value)) for target in node.targets)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call):
            for parameter, value in zip(parameters.get(_name_of(node.func), ()), node.args, strict=False):
                yield parameter, _name_of(value)


def prepared(tree: ast.Module) -> ast.Module:
    """The code with the marks of the module's docstring. Lines stay as they are."""
    free = free_names(tree) | {alias.asname or alias.name for node in walk(tree)
                               if isinstance(node, ast.ImportFrom) and node.module == "solution"
                               for alias in node.names} | {"solution"}
    marks: set[ast.Call] = set()
    nodes = list(walk(tree))
    for scope in [tree, *(node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))]:
        marks |= _Scope(scope, free).mirrored()
    for node in nodes:
        if isinstance(node, ast.Assert):
            node.test = _judged(node.test)
        elif isinstance(node, ast.Call) and _dotted(node.func) == "type" and len(node.args) == 1 and not node.keywords:
            node.func = ast.copy_location(ast.Name(TYPE, ast.Load()), node.func)
        elif node in marks:
            node.func = _applied(MIRROR, node.func)
    if any(isinstance(node, ast.Attribute) and node.attr == "__class__" for node in nodes):
        tree = _Classes().visit(tree)
    return tree


class _Classes(ast.NodeTransformer):
    """Every `x.__class__` becomes the call that `type(x)` becomes."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        return _applied(TYPE, node.value) if node.attr == "__class__" and isinstance(node.ctx, ast.Load) else node


def _applied(name: str, value: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Call(ast.copy_location(ast.Name(name, ast.Load()), value), [value], []), value)


def _judged(test: ast.expr) -> ast.expr:
    """An asserted expression, with a call of `remote.asserted` around every part under `not`, `and` and `or`."""
    if isinstance(test, ast.BoolOp):
        test.values = [_judged(value) for value in test.values]
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test.operand = _judged(test.operand)
    elif not isinstance(test, ast.Constant):
        return _applied(TRUTH, test)
    return test


class _Scope:
    """One function of the test code, or its top level."""

    def __init__(self, scope: ast.AST, free: set[str]) -> None:
        self.nodes = list(walk(scope, (ast.FunctionDef, ast.AsyncFunctionDef)))[1:]
        parameters = {arg.arg for arg in walk(scope.args) if isinstance(arg, ast.arg)} if isinstance(
            scope, ast.FunctionDef | ast.AsyncFunctionDef) else set()
        called = {node.func.id for node in self.nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        self.programs = free | (parameters & called) | {"self"}
        """Names through which the program is called."""
        self.results: set[str] = set()
        """Variables that hold what the program returned."""
        self.aliases: dict[str, set[str]] = {}
        """For each variable the expressions that it was made from."""
        for _ in range(2):  # an assignment may stand above what it depends on, in a loop
            self._follow()

    def _follow(self) -> None:
        for node in self.nodes:
            if isinstance(node, ast.For | ast.comprehension) and self.tainted(node.iter):
                self.results |= _target_names(node.target)
            value = getattr(node, "value", None)
            if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) or value is None:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in set().union(*map(_target_names, targets)):
                if self.tainted(value):
                    self.results.add(name)
                else:
                    self.aliases.setdefault(name, set()).update(_texts(value))

    def mirrored(self) -> set[ast.Call]:
        """Calls after which the test looks at its own arguments to see what became of them."""
        statements = {node.value for node in self.nodes if isinstance(node, ast.Expr)}
        looked_at = self._looked_at()
        found: set[ast.Call] = set()
        for call in self.nodes:
            if isinstance(call, ast.Call):
                texts = map(_dotted, (*call.args, *(word.value for word in call.keywords)))
                if call in statements or any(looked_at.get(text, 0) >= call.lineno for text in texts):
                    found.add(call)
        return found

    def _looked_at(self) -> dict[str, int]:
        """The last line in which a comparison looks at a variable alone, and compares it with what no program had a
        hand in."""
        lines: dict[str, int] = {}
        for line, side, others in self._comparisons():
            if any(map(self.tainted, others)):
                continue
            elsewhere = set().union(*map(self._mentioned, others))
            tainted, may_be_left_out = self.tainted(side), any(isinstance(part, ast.BoolOp) for part in walk(side))
            for text in self._mentioned(side) - elsewhere:
                if not tainted or (may_be_left_out and not self.tainted(side, text)):
                    lines[text] = max(line, lines.get(text, 0))
        return lines

    def _comparisons(self) -> Iterator[tuple[int, ast.expr, list[ast.expr]]]:
        """Line, one side and the other sides of all comparisons, those of assertEqual and its relatives too."""
        for node in self.nodes:
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and _name_of(node.func).lower().startswith("assert") and len(node.args) > 1:
                sides = node.args[:2]
            else:
                continue
            for side in sides:
                yield node.end_lineno or node.lineno, side, [other for other in sides if other is not side]

    def _mentioned(self, node: ast.expr) -> set[str]:
        """Variables in an expression, and those from which these were made."""
        texts = _texts(node)
        return texts.union(*(self.aliases.get(text, ()) for text in texts))

    def tainted(self, node: ast.expr, beside: str = "") -> bool:
        """Whether the value depends on what the program returned, indices and slices aside; in `f(x) or x` the first
        part is left out if `beside` is the second."""
        stack: list[ast.AST] = [node]
        while stack:
            node = stack.pop()
            if isinstance(node, ast.BoolOp) and beside and _dotted(node.values[-1]) == beside:
                continue
            if isinstance(node, ast.Subscript):
                picked = _picked(node)
                stack.append(picked if picked is not None else node.value)
                continue
            if _is_indexing(node):
                continue
            if isinstance(node, ast.Name) and node.id in self.results:
                return True
            if isinstance(node, ast.Call) and _root_of(node.func) in self.programs and not _name_of(
                    node.func).lower().startswith(("assert", "fail", "subtest")):
                return True
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Lambda):
                stack.append(node.func.body)
            stack += ast.iter_child_nodes(node)
        return False


def _picked(node: ast.Subscript) -> ast.expr | None:
    """The element that `(f(x), x)[1]` is."""
    place = node.slice
    if isinstance(node.value, ast.Tuple | ast.List) and isinstance(place, ast.Constant) and isinstance(
            place.value, int) and place.value < len(node.value.elts):
        return node.value.elts[place.value]
    return None


def _is_indexing(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _dotted(node: ast.AST) -> str:
    """`a.b.c`, "" for an expression that is no name with attributes."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _texts(node: ast.AST) -> set[str]:
    return {_dotted(part) for part in walk(node) if isinstance(part, ast.Name | ast.Attribute)} - {""}


def _target_names(node: ast.AST) -> set[str]:
    return {_dotted(part) for part in walk(node) if isinstance(part, ast.Name | ast.Attribute)
            and not isinstance(part.ctx, ast.Load)} - {""}


def _name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _root_of(node: ast.AST) -> str:
    """The first name of `a.b(c).d`."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
