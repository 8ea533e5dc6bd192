"""The helpers that tests of LeetCode tasks use without defining them: nodes of lists and trees, made and compared.

They belong to the tests: they run beside them, never in the jail of the program, which only gets the two classes. What
the program returns crosses the wall as values and links, so nothing that its own class says about itself matters.
Runs inside the jail too: standard library only.
"""

from __future__ import annotations

from collections import deque
from typing import Any

LINKS = {"ListNode": ("next",), "TreeNode": ("left", "right")}
"""By class: the attributes that lead to other nodes; each has a `val` besides."""


class ListNode:
    """A node of a singly linked list."""

    def __init__(self, val: Any = 0, next: Any = None) -> None:
        self.val, self.next = val, next


class TreeNode:
    """A node of a binary tree."""

    def __init__(self, val: Any = 0, left: Any = None, right: Any = None) -> None:
        self.val, self.left, self.right = val, left, right


def list_node(values: Any) -> ListNode | None:
    """The head of a list of the values; None of none."""
    head = None
    for value in reversed(list(values or ())):
        head = ListNode(value, head)
    return head


def tree_node(values: Any) -> TreeNode | None:
    """The root of a tree whose values are given level by level, None where there is no node."""
    given = iter(values or ())
    first = next(given, None)
    if first is None:
        return None
    root = TreeNode(first)
    parents = deque([root])
    for value in given:
        parent = parents[0]
        if value is not None:
            parents.append(TreeNode(value))
        made = parents[-1] if value is not None else None
        if not hasattr(parent, "_left_given"):
            parent.left, parent._left_given = made, True  # type: ignore[attr-defined]
        else:
            parent.right = made
            del parent._left_given  # type: ignore[attr-defined]
            parents.popleft()
            if not parents:
                break
    for parent in parents:
        vars(parent).pop("_left_given", None)
    return root


def linked_values(head: Any) -> list[Any]:
    """The values of a list, in order."""
    values, seen = [], set()
    while head is not None and id(head) not in seen:
        seen.add(id(head))
        values.append(head.val)
        head = head.next
    if head is not None:
        raise ValueError("the list has a cycle")
    return values


def tree_values(root: Any) -> list[Any]:
    """The values of a tree level by level, None where there is no node, none of these at the end."""
    values: list[Any] = []
    level = deque([root])
    while level:
        node = level.popleft()
        values.append(None if node is None else node.val)
        if node is not None:
            level += (node.left, node.right)
    while values and values[-1] is None:
        values.pop()
    return values


def is_same_list(first: Any, second: Any) -> bool:
    """Whether two lists hold equal values in the same order."""
    while first is not None and second is not None:
        if first is second:
            return True
        if first.val != second.val:
            return False
        first, second = first.next, second.next
    return first is None and second is None


def is_same_tree(first: Any, second: Any) -> bool:
    """Whether two trees have the same form and equal values."""
    pairs = deque([(first, second)])
    while pairs:
        one, other = pairs.popleft()
        if one is None or other is None:
            if one is not other:
                return False
            continue
        if one.val != other.val:
            return False
        pairs += ((one.left, other.left), (one.right, other.right))
    return True


HELPERS: dict[str, Any] = {
    "ListNode": ListNode, "TreeNode": TreeNode, "is_same_list": is_same_list, "is_same_tree": is_same_tree,
    **dict.fromkeys(("list_node", "create_linked_list", "list_to_linked_list"), list_node),
    **dict.fromkeys(("tree_node", "list_to_tree"), tree_node),
    **dict.fromkeys(("linked_list_to_list", "list_node_to_list"), linked_values),
    **dict.fromkeys(("tree_to_list", "tree_node_to_list"), tree_values),
    "inf": float("inf"), "null": None, "true": True, "false": False,
}
"""By the names that the public datasets use."""
CLASSES = {name: HELPERS[name] for name in LINKS}
"""What a program may use, and may define itself instead."""
_own: dict[str, type] = {}


def use_classes(namespace: dict[str, Any]) -> None:
    """From now on nodes that arrive are of the program's own classes of these names, where it has some."""
    _own.update({name: found for name in LINKS if isinstance(found := namespace.get(name), type)})


def node_class(name: str) -> Any:
    """The class that nodes are built from when they arrive."""
    return _own.get(name, HELPERS[name])
