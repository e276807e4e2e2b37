"""Whose top-level package `nn` is: another distribution may have put one of that name in place of ours."""

from __future__ import annotations


def require_ours() -> None:
    """Raise an ImportError unless `nn` is this project's; it names what is there, whose it is, and the way out."""
    try:
        import nn
    except ImportError as error:
        raise ImportError(
            f"tinygrad_seq.nn: cannot import the package nn that belongs to it ({error}); {_WAY_OUT}"
        ) from error
    from ..tensor import Tensor

    parameter = getattr(nn, "Parameter", None)
    if isinstance(parameter, type) and issubclass(parameter, Tensor):
        return
    from importlib.metadata import packages_distributions

    owners = [name for name in packages_distributions().get("nn", ()) if name != "tinygrad-seq"]
    owner = f"the distribution {' or '.join(sorted(set(owners)))}" if owners else "no distribution that is installed"
    where = getattr(nn, "__file__", None) or getattr(nn, "__path__", "nowhere")
    uninstall = f"pip uninstall {' '.join(sorted(set(owners)))}, then " if owners else "rename or remove it, or "
    raise ImportError(
        f"tinygrad_seq.nn: the package nn that Python finds is not the one of tinygrad-seq: {where} belongs to "
        f"{owner}; {uninstall}{_WAY_OUT}"
    )


_WAY_OUT = "pip install --force-reinstall --no-deps tinygrad-seq"
