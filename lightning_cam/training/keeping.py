"""What is kept of the checks of one fit: their numbers, and at the end a page."""

from collections.abc import Mapping
from itertools import compress
from typing import Any

from ..attribution.outputs import predicted_classes
from ..examination import Reading
from ..probe import Probe
from ..probe.task import CLASSES
from ..sinks.frames import shown_probes
from ..sinks.mistakes import SurestMistakes
from ..sinks.snapshot import MOST_PROBES
from ..verdict import Verdict
from .failures import Failures
from .gallery import Gallery
from .journal import Journal
from .mistakes import Mistakes
from .observer import Observer
from .options import Options
from .remarks import of_check
from .reviewing import HOW, commands, is_reviewable
from .rhythm import Occasion
from .trainer import logged_epoch

MOST_WEIGHTS = 200_000_000  # to be drawn at random: 3 s and 0.8 GB a draw
MAX_EVIDENCE = 6  # findings that get pictures: 0.1 to 0.3 MB each, of the 5 MB that a page may have


class Keeping:
    """Logs readings, and hands over the last page of one fit."""

    def __init__(
        self, options: Options, journal: Journal, gallery: Gallery, mistakes: Mistakes, failures: Failures
    ) -> None:
        self._options = options
        self._journal = journal
        self._gallery = gallery
        self._mistakes = mistakes
        self._failures = failures

    def log(self, scalars: Mapping[str, float], trainer: Any, module: Any, occasion: Occasion) -> Reading:
        """Logs the numbers of a check."""
        if occasion.completes:
            reading, news = self._journal.complete(scalars)
        else:
            reading, news = self._journal.record(scalars, occasion.step, logged_epoch(trainer))
        with self._failures.surviving("logging"):
            self._journal.log(news, trainer, self._failures, through=module if occasion.can_log else None)
        for subject, text in of_check(scalars, occasion.step, is_first=occasion.before_training).items():
            self._failures.say_once(subject, text)
        return reading

    def sum_up(
        self,
        observer: Observer,
        trainer: Any,
        module: Any,
        probe: Probe | None,
        verdict: Verdict | None,
        *,
        alert: bool,
        doubts_maps: bool,
    ) -> bool:
        """Hands over the last page. Returns whether it said on the terminal how the fit ended.

        With ``doubts_maps`` those are marked that say nothing of what was learned.
        """
        report, history = observer.report, self._journal.readings
        if probe is None or not history:
            return False
        shows_findings = verdict and self._gallery.is_open and self._options.log_images
        swapped = {} if observer.judged is None else observer.judged.effects
        found = [finding.cue for finding in verdict.findings if finding.cue in swapped] if verdict else []
        cues = found[:MAX_EVIDENCE] if shows_findings else []
        evidence = observer.evidence(module, probe, cues)
        mistakes: SurestMistakes | None = None
        with self._failures.surviving("the mistakes of the validation"):
            mistakes = self._surest(observer, module, probe)
        untrusted = self._untrusted(observer, module, probe) if doubts_maps else None
        if not self._gallery.is_open or report is None:
            return False
        reviewable = probe if self._options.log_images and is_reviewable(probe, self._options.limits) else None
        self._gallery.finish(
            history, verdict, evidence, mistakes, alert=alert, reviewable=reviewable, untrusted=untrusted
        )
        if self._options.verbose:
            self._gallery.close()  # whose page the last words name
            words = self._gallery.last_words(probe, report, len(history), verdict)
            if reviewable is not None and self._gallery.kept_in is not None:
                way = commands(self._gallery.kept_in, reviewable, self._options, trainer, module)
                words = "\n".join([words, HOW, *way])
            print(f"\n{words}")  # noqa: T201 - once a fit
        return self._options.verbose

    def _untrusted(self, observer: Observer, module: Any, probe: Probe) -> tuple[str, ...] | None:
        """Names of the images whose maps do not depend on the weights; None where that is not known. All call this."""
        n_weights = sum(parameter.numel() for parameter in module.parameters())
        if not self._options.log_images or n_weights > MOST_WEIGHTS:
            return None
        rows = shown_probes(probe.targets, MOST_PROBES)
        stay = observer.untrusted(module, probe, rows)
        return None if stay is None else tuple(compress((probe.names[i] for i in rows.tolist()), stay.tolist()))

    def _surest(self, observer: Observer, module: Any, probe: Probe) -> SurestMistakes | None:
        """The surest mistakes on all validation images, in the first process; all have to call this."""
        if probe.task.kind != CLASSES:  # of several labels an image has several answers, of values none is a mistake
            return None
        gathered = self._mistakes.gathered()
        if gathered is None or not gathered.goes_with(observer.logged):
            return None
        found = gathered.as_probe(probe)
        maps = observer.maps_of(module, found)
        if maps is None:
            return None
        # The weights may be others than at that validation: what is no mistake any more is left out.
        rows = (predicted_classes(maps.logits) == gathered.kept.predicted).nonzero().flatten()
        return SurestMistakes(found, maps, rows, len(gathered.labels), gathered.accuracy, gathered.pairs())
