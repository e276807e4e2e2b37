"""What is recorded: primitives, the nodes that they leave behind, and who watches."""

from .node import FunctionNode as FunctionNode
from .node import LazyGrad as LazyGrad
from .node import Leaf as Leaf
from .node import Node as Node
from .node import Output as Output
from .node import Value as Value
from .primitive import Primitive as Primitive
from .primitive import observers as observers
from .primitive import primitive as primitive
