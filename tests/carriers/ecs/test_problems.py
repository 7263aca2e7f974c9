"""What the cloud's error codes mean."""

import pytest

from backfleet.carriers.ecs.model import Result, Run, Trouble
from backfleet.carriers.ecs.problems import INSTANCE_ERRORS, problem_of
from backfleet.carriers.ecs.reading import progress_of
from backfleet.commands import ALREADY_STARTED


@pytest.mark.parametrize(
    ("code", "status", "ours", "trouble"),
    [
        ("Throttling.User", 429, "EcsThrottled", Trouble.PASSES),
        ("Throttling", 400, "EcsThrottled", Trouble.PASSES),
        ("ServiceUnavailable", 503, "EcsUnreachable", Trouble.PASSES),
        ("InternalError.Dispatch", 500, "EcsUnreachable", Trouble.PASSES),
        ("IdempotentProcessing", 403, "EcsUnreachable", Trouble.PASSES),
        ("SignatureNonceUsed", 400, "EcsUnreachable", Trouble.PASSES),
        ("Whatever", 502, "EcsUnreachable", Trouble.PASSES),
        ("", 200, "EcsUnreachable", Trouble.PASSES),
        ("IdempotentParameterMismatch", 403, "EcsBadAnswer", Trouble.DOUBT),
        ("InvalidInvokeId.NotFound", 404, "EcsBadAnswer", Trouble.DOUBT),
        ("InvalidAccessKeyId.NotFound", 404, "EcsKeyRefused", Trouble.ACCOUNT),
        ("InvalidAccessKeyId.Inactive", 403, "EcsKeyRefused", Trouble.ACCOUNT),
        ("SignatureDoesNotMatch", 400, "EcsKeyRefused", Trouble.ACCOUNT),
        ("InvalidSecurityToken.Expired", 403, "EcsKeyRefused", Trouble.ACCOUNT),
        ("InvalidTimeStamp.Expired", 400, "EcsClockWrong", Trouble.ACCOUNT),
        ("EntityNotExist.Role", 404, "EcsKeyRefused", Trouble.ACCOUNT),
        ("NoPermission", 403, "EcsPermissionMissing", Trouble.ACCOUNT),
        ("Forbidden.RAM", 403, "EcsPermissionMissing", Trouble.ACCOUNT),
        ("InvalidRegionId.NotFound", 404, "EcsRegionRefused", Trouble.ACCOUNT),
        ("RegionId.ApiNotSupported", 400, "EcsRegionRefused", Trouble.ACCOUNT),
        ("InvalidInstance.NotFound", 404, "EcsInstanceNotFound", Trouble.INSTANCE),
        ("InvalidInstanceId.NotFound", 404, "EcsInstanceNotFound", Trouble.INSTANCE),
        ("InvalidInstance.NotMatch", 400, "EcsCommandRefused", Trouble.INSTANCE),
        ("IncorrectInstanceStatus", 403, "EcsInstanceNotRunning", Trouble.INSTANCE),
        ("InstanceIds.ExceedLimit", 403, "EcsCommandRefused", Trouble.INSTANCE),
        ("CmdContent.ExceedLimit", 403, "EcsCommandRefused", Trouble.COMMAND),
        ("Invocation.ExceedQuota", 403, "EcsQuotaUsedUp", Trouble.COMMAND),
        ("SomethingNew", 400, "EcsCommandRefused", Trouble.COMMAND),
    ],
)
def test_each_code_of_the_cloud_has_one_of_ours(code: str, status: int, ours: str, trouble: Trouble) -> None:
    found = problem_of("ecs:RunCommand", code, "why", status, None)
    assert (found.code, found.trouble, found.cloud_code) == (ours, trouble, code)
    assert "ecs:RunCommand" in found.message
    assert found.message.endswith(".")
    assert not found.message.endswith("why)."), "it says what to do"


def test_a_missing_permission_is_named_as_the_cloud_names_it() -> None:
    """The cloud may need another action than the one that was called; without its word it is that one."""
    detail = {"AuthAction": "ecs:InvokeCommand"}
    assert "ecs:InvokeCommand is not permitted" in problem_of("ecs:RunCommand", "NoPermission", "", 403, detail).message
    assert "ecs:RunCommand is not permitted" in problem_of("ecs:RunCommand", "Forbidden.RAM", "", 403, None).message


def test_what_the_cloud_writes_cannot_move_a_terminals_cursor() -> None:
    assert "\x1b" not in problem_of("ecs:RunCommand", "NoPermission", "\x1b[2J", 403, {"AuthAction": "\x1b[2J"}).message


@pytest.mark.parametrize("code", sorted(INSTANCE_ERRORS))
def test_what_an_instance_cannot_do_is_said_with_what_to_do(code: str) -> None:
    """Also where the cloud explains at length; what may have run is in doubt, and nobody has to act."""
    ours, may_have_run, advice = INSTANCE_ERRORS[code]
    report = progress_of(Run("t-1", "i-1", "i-1"), Result("i-1", "Failed", None, code, "why" * 300, b"", 0)).report
    assert report is not None
    assert bool(advice) != may_have_run
    assert report.error_code == (ours or ALREADY_STARTED)
    assert report.error_text.endswith(advice)
    assert len(report.error_text) <= 512
