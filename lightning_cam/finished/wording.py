"""Advice for Python code, said for the command line instead: the same sentence, with the option to type."""

import re

_FUNCTION = "package.module:function"
_OPTIONS = (
    (r"CAMCallback\(probe\) with probe = Probe\.from_dataset\(dataset, masks=masks\)", "--masks DIR"),
    (r"Probe\.from_dataset\(dataset, masks=masks\)", "--masks DIR"),
    (r"; to judge the finished model on all pictures .*? within the fit", ""),  # that was just done
    (r"; CAMCallback\(audit=audit_dataset\(folder\)\) looks for one", ""),
    (r"if the validation data has one alone, pass CAMCallback\(.*?\)\)", "pass another --data DIR"),
    (r"expected_cues=\[(.*?)\]", lambda match: f"--expect {re.sub(r'''[',]''', '', match[1])}"),
    (r"expected_cues must be a list of names out of", "--expect takes names out of"),
    (r"size=\(height, width\)( or put a Resize and a CenterCrop into the transform)?", "--size H W"),
    (r"size must be \(height, width\) in pixels such as \(224, 224\)", "--size takes height and width such as 224 224"),
    (r"\bn must be", "--n must be"),
    (r"\battributes= ", "--attributes FILE "),
    (r"forward=lambda[^,]*, images: (class_scores|predicted_values)", f"--forward {_FUNCTION}"),
    (r"forward=lambda[^,]*, images: ", f"--forward {_FUNCTION}, a function of module and images that returns "),
    (r"forward=", f"--forward {_FUNCTION}"),
    (r"layer='[^']*'", "--layer NAME"),
    (r"load\(folder, preprocess=\.\.\.\)", f"--preprocess {_FUNCTION}"),
)


def as_options(text: str) -> str:
    """``text`` with options of the command in place of arguments of functions.

    >>> as_options("pass expected_cues=['background', 'border']; another layer='...' is finer")
    'pass --expect background border; another --layer NAME is finer'
    >>> as_options("no masks; Probe.from_dataset(dataset, masks=masks) takes them")
    'no masks; --masks DIR takes them'
    """
    for argument, option in _OPTIONS:
        text = re.sub(argument, option, text)
    return text
