"""What a cue is, and what takes one away."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

SIDES = "(64, 112, 224)"
OF_SLICES = "# for a picture; of a volume, change all slices with the same random numbers"
_OF_TRANSPARENCY = "alpha"  # source of a mask that a picture brings along


@dataclass(frozen=True)
class Remedy:
    """What takes a cue away.

    Args:
        what: One sentence without a full stop, for people.
        code: Complete Python that defines ``transform``, which takes a picture as `ImageFolder` loads it, and its mask
            where the remedy says so; empty where code does not help. Put it first, before the transforms that the
            training uses anyway.
        other: Another way, for pictures with transparency alone.
    """

    what: str
    code: str
    other: "Remedy | None" = None

    def fitting(self, mask_sources: Collection[str]) -> "Remedy":
        """The way first that fits the pictures: that for transparency where all of them have some."""
        if self.other is None or set(mask_sources) != {_OF_TRANSPARENCY}:
            return self
        return replace(self.other, other=replace(self, other=None))

    def at(self, size: tuple[int, ...]) -> "Remedy":
        """The same for pictures of that size ``(H, W)``; without it the code has 224 x 224.

        >>> Remedy("resize", "transform = v2.Resize((224, 224))").at((64, 96)).code
        'transform = v2.Resize((64, 96))'
        """
        if min(size) < 1:
            return self
        side = max(size)
        sides = f"({max(2 * side // 7, 1)}, {max(side // 2, 1)}, {side})"
        other = self.other and self.other.at(size)
        code = self.code.replace(SIDES, sides).replace("(224, 224)", str(tuple(size)))
        return replace(self, code=code, other=other)

    def in_slices(self) -> "Remedy":
        """The same for volumes, of whose slices the code changes one."""
        return replace(
            self, code=f"{OF_SLICES}\n{self.code}" if self.code else "", other=self.other and self.other.in_slices()
        )


@dataclass(frozen=True)
class Cue:
    """One property of pictures that a model may use instead of the object.

    Args:
        name: Its name in keys, arguments and reports.
        words: The same for people, as in "with ... of another class".
        remedy: How to take it away.
        owner: Whose property it is. A cue "off object" may lead to "FAIL". A "shared" one is in part the object's own
            and leads to "WARN" at most. A cue of the "object" leads to nothing: its trial only supports the others.
        needs_masks_to_convict: Whether only masks can show that it was not the object that was swapped. Never of a cue
            that is read on the object as well as beside it: no mask would show that.
        part_of: The cue that contains this one. Swapping a part leaves a seam inside the whole, and a model may react
            to the seam alone. So the effect of the part is capped at that of the whole.
        facts: Facts of the audit that show the cue.
        object_facts: Those of the facts in which the object has a part.
        shows_as: Cues whose facts differ by class as well where this one does. They have no remedy of their own then.
        felt_in: More cues whose swap moves a model that relies on this one, since it brings this one along.
        other: Whose property a swap brings, after ``words``; empty where it is that of another class.
        allowed_with: Cues that contain this one: whoever expects one of these expects this one, too.
    """

    name: str
    words: str
    remedy: Remedy
    owner: Literal["off object", "shared", "object"] = "off object"
    needs_masks_to_convict: bool = False
    part_of: str | None = None
    facts: tuple[str, ...] = ()
    object_facts: tuple[str, ...] = ()
    shows_as: tuple[str, ...] = ()
    felt_in: tuple[str, ...] = ()
    other: str = ""
    allowed_with: tuple[str, ...] = ()
