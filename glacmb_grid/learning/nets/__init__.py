"""Small feed-forward networks, many of which are trained at once."""

from glacmb_grid.learning.nets.extract import network as network
from glacmb_grid.learning.nets.module import FeedForward as FeedForward
from glacmb_grid.learning.nets.predict import forward as forward
from glacmb_grid.learning.nets.problem import Nets as Nets
from glacmb_grid.learning.nets.problem import Problem as Problem
from glacmb_grid.learning.nets.problem import Shape as Shape
from glacmb_grid.learning.nets.problem import shape_of as shape_of
from glacmb_grid.learning.nets.train import Trained as Trained
from glacmb_grid.learning.nets.train import train as train
