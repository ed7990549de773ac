"""One asset for each declaration that cannot be used: it fails, and says why and in which file."""

import dagster as dg

from headrace.config import Settings
from orchestration.lib.declared import Broken, read_declared
from orchestration.lib.resource import LakeResource

CHECK = "declaration_is_valid"


@dg.definitions
def broken_declarations() -> dg.Definitions:
    """Define an asset and its check for each of them, under the key that the table would have."""
    found = read_declared(Settings.load()).broken
    return dg.Definitions(
        assets=[_asset(each) for each in found], asset_checks=[_check(each) for each in found]
    )


def _asset(broken: Broken) -> dg.AssetsDefinition:
    @dg.asset(
        key=broken.key,
        group_name=broken.group,
        description=f"A declaration that cannot be used: {said(broken)}",
    )
    def unusable() -> None:
        raise dg.Failure(said(broken), allow_retries=False)

    return unusable


def _check(broken: Broken) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=broken.key,
        name=CHECK,
        blocking=True,
        description="The declaration can be used; a correction takes effect at the next reload.",
    )
    def is_valid(lake: LakeResource) -> dg.AssetCheckResult:
        now = read_declared(lake.settings()).broken
        return result(next((each for each in now if each.key == broken.key), None))

    return is_valid


def result(broken: Broken | None) -> dg.AssetCheckResult:
    """Report the problems of a declaration, or that it has none any more."""
    if broken is None:
        return dg.AssetCheckResult(
            passed=True, description="The declaration is correct now; reload the code location."
        )
    return dg.AssetCheckResult(
        passed=False,
        description=said(broken),
        metadata={"problems": len(broken.problems), "file": dg.MetadataValue.path(broken.file)},
    )


def said(broken: Broken) -> str:
    """Say what is wrong, where, and what to do."""
    listed = "\n".join(broken.problems)
    return f"{listed}\ncorrect the file, run `headrace check`, then reload the code location"
