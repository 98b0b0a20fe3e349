"""Frame + Poses -> picture: people as coloured skeletons, and what else one wants to see of them.

colours   sides of the body, and one colour per track id
layer     an RGBA sheet to paint on, blended into the picture
figure    the skeleton of a person
mark      boxes and labels
heat      heatmaps as a translucent colour map
trail     the paths of joints over the last seconds
picture   background and overlays in their order
"""

from hrpose.draw.layer import Picture
from hrpose.draw.picture import draw
from hrpose.draw.trail import Trails

__all__ = ["Picture", "Trails", "draw"]
