"""What Python 3.10 lacks of later versions."""

import enum
import sys

if sys.version_info >= (3, 11):
    from enum import StrEnum

    import tomllib
else:
    import tomli as tomllib

    class StrEnum(str, enum.Enum):
        """An enumeration whose members are strings."""

        __str__ = str.__str__
        __format__ = str.__format__


#: Words for a Python of our own: a file in the working directory that has a library's name is not
#: the library. Python 3.10 has no such option.
SAFE_PATH = ("-P",) if sys.version_info >= (3, 11) else ()

__all__ = ["SAFE_PATH", "StrEnum", "tomllib"]
