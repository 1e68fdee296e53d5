"""The methods whose maps are made of activations and gradients."""

from lightning_cam.attribution import cams

GRADIENT_METHODS = [
    cams.cam,
    cams.grad_cam,
    cams.grad_cam_plus_plus,
    cams.hires_cam,
    cams.layer_cam,
    cams.xgrad_cam,
    cams.eigen_cam,
]
