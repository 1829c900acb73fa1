"""What the tests of `edgesr upscale` have in common; its fixtures are in edgesr/conftest.py."""

from collections.abc import Callable

from edgesr.tflite.shape import ModelShape
from helpers.commands import Ran
from helpers.small_net import SmallNet

#: The network of the small file, and the file's sizes.
NET = SmallNet(2, 2)
SHAPE = ModelShape(16, 24, 2)


#: Runs the command with the words that it is given.
Upscale = Callable[..., Ran]
