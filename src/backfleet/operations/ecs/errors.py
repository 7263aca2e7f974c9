"""Refusals of ECS operations. Codes, statuses and texts are those of the public error tables of 2025."""

from typing import ClassVar

from backfleet.operations.catalogue import Call
from backfleet.wire.errors import ApiError


class EcsRefusal(ApiError):
    """A refusal whose text is fixed, unless the one who refuses knows better."""

    text: ClassVar[str] = ""

    def __init__(self, text: str = "") -> None:
        super().__init__(text or self.text)


# --- Every operation --------------------------------------------------------------------------------------------------


class RegionNotFound(EcsRefusal):
    """Not the region this installation answers for."""

    code = "InvalidRegionId.NotFound"
    status = 404
    text = "The RegionId provided does not exist in our records."


class BadPageNumber(EcsRefusal):
    """A page number out of its range."""

    code = "InvalidParam.PageNumber"
    status = 400
    text = "The specified parameter is invalid: PageNumber is from 1 to 1000000."


class BadPageSize(EcsRefusal):
    """A page size out of its range."""

    code = "InvalidParam.PageSize"
    status = 400
    text = "The specified parameter is invalid: PageSize."


class BadNextToken(EcsRefusal):
    """A token that we did not give."""

    code = "InvalidParameter.NextToken"
    status = 400
    text = "The specified parameter is invalid: NextToken is not one this server gave."


class BadMaxResults(EcsRefusal):
    """Not a number of results."""

    code = "InvalidParameter.MaxResults"
    status = 400
    text = "The specified parameter is invalid: MaxResults."


class IdempotentMismatch(EcsRefusal):
    """A known ClientToken with other parameters."""

    code = "IdempotentParameterMismatch"
    status = 403
    text = "The specified parameter has changed while using an already used clientToken."


class BadClientToken(EcsRefusal):
    """A ClientToken that is too long or not ASCII."""

    code = "InvalidClientToken.Malformed"
    status = 400
    text = "The specified parameter ClientToken is not valid: at most 64 ASCII characters."


# --- Instances --------------------------------------------------------------------------------------------------------


class InstanceNotFound(EcsRefusal):
    """No such instance in this account."""

    code = "InvalidInstance.NotFound"
    status = 404
    text = "The specified instances not found."


class InstanceIdNotFound(EcsRefusal):
    """An instance that the invocation has not."""

    code = "InvalidInstanceId.NotFound"
    status = 404
    text = "The specified InstanceId does not exist."


class TooManyIds(EcsRefusal):
    """More instance ids than one call may carry."""

    code = "InstanceIds.ExceedLimit"
    status = 403
    text = "The number of instance IDs exceeds the upper limit."


class NoInstance(EcsRefusal):
    """A call that needs instances names none."""

    code = "MissingParam.InstanceId"
    status = 400
    text = "The parameter instanceId is missing or empty."


class NameRefused(EcsRefusal):
    """A name that no instance may have."""

    code = "InvalidInstanceName.Malformed"
    status = 400
    text = "The specified InstanceName is not valid: 2 to 128 characters, and no http:// or https://."


class DryRun(EcsRefusal):
    """All is well, and nothing was done: that is what was asked for."""

    code = "DryRunOperation"
    status = 400
    text = "Request validation has been passed with DryRun flag set."


# --- Activations ------------------------------------------------------------------------------------------------------


class ActivationCountExceeded(EcsRefusal):
    """Too many hosts, or none."""

    code = "ActivationCount.ExceedLimit"
    status = 400
    text = "InstanceCount must be from 1 to 1000."


class ActivationHoursExceeded(EcsRefusal):
    """Too long or too short a life."""

    code = "ActivationTTL.ExceedLimit"
    status = 400
    text = "TimeToLiveInHours must be from 1 to 24."


class ActivationNameTooLong(EcsRefusal):
    """A prefix of another length."""

    code = "InstanceName.ExceedLimit"
    status = 400
    text = "InstanceName must have 2 to 50 characters."


class ActivationNameRefused(EcsRefusal):
    """A prefix of another form."""

    code = "InstanceName.InvalidPattern"
    status = 400
    text = "InstanceName must start with a letter and hold letters, digits and . _ : -"


class ActivationDescriptionTooLong(EcsRefusal):
    """Too long a description."""

    code = "ActivationDesc.ExceedLimit"
    status = 400
    text = "Description must have at most 100 characters."


class AddressRangeRefused(EcsRefusal):
    """No address and no network."""

    code = "AddressRange.InvalidPattern"
    status = 400
    text = "IpAddressRange must be an address or a network such as 10.0.0.0/8."


class ActivationNotFound(EcsRefusal):
    """No such activation in this account."""

    code = "InvalidActivationId.NotFound"
    status = 404
    text = "The specified activation ID does not exist."


class ActivationInUse(EcsRefusal):
    """Only unused activations are deleted."""

    code = "Activation.Used"
    status = 403
    text = "The activation has registered instances and cannot be deleted: disable it."


# --- Tags -------------------------------------------------------------------------------------------------------------


class TooManyTags(EcsRefusal):
    """More tags than a resource may have."""

    code = "NumberExceed.Tags"
    status = 400
    text = "The number of tags exceeds the upper limit of 20."


class TagKeyMissing(EcsRefusal):
    """A tag without a key."""

    code = "MissingParameter.TagKey"
    status = 400
    text = "You must specify Tag.N.Key."


class TagKeyTwice(EcsRefusal):
    """The same key twice in one call."""

    code = "Duplicate.TagKey"
    status = 400
    text = "The Tag.N.Key contain duplicate key."


class TagKeyMalformed(EcsRefusal):
    """A key that no tag may have."""

    code = "InvalidTagKey.Malformed"
    status = 400
    text = (
        "The specified Tag.n.Key is not valid: 1 to 64 characters, not acs: or aliyun at its start, no "
        "http:// or https://."
    )


class TagValueMalformed(EcsRefusal):
    """A value that no tag may have."""

    code = "InvalidTagValue.Malformed"
    status = 400
    text = "The specified Tag.n.Value is not valid: at most 128 characters, no http:// or https://."


class ResourceTypeNotFound(EcsRefusal):
    """Nothing of this type has tags here."""

    code = "InvalidResourceType.NotFound"
    status = 404
    text = "The ResourceType provided does not exist in our records."


class ResourceNotFound(EcsRefusal):
    """One of these resources is not in this account."""

    code = "InvalidResourceId.NotFound"
    status = 404
    text = "The specified ResourceIds are not found in our records."


class NoResource(EcsRefusal):
    """A call that needs resources names none."""

    code = "MissingParameter.ResourceIds"
    status = 400
    text = "You must specify ResourceId.N."


class TooManyResources(EcsRefusal):
    """More resources than one call may carry."""

    code = "NumberExceed.ResourceIds"
    status = 400
    text = "The number of resource IDs exceeds the upper limit of 50."


class NoTagToRemove(EcsRefusal):
    """A call that would remove nothing."""

    code = "MissingParameter.TagKeys"
    status = 400
    text = "You must specify TagKey.N, or All."


# --- Commands ---------------------------------------------------------------------------------------------------------


class CommandNotFound(EcsRefusal):
    """No such command in this account."""

    code = "InvalidCmdId.NotFound"
    status = 404
    text = "The specified command ID does not exist."


class CommandTypeNotFound(EcsRefusal):
    """Neither shell, batch nor PowerShell."""

    code = "InvalidCmdType.NotFound"
    status = 404
    text = "The specified command type does not exist."


class ContentTooLong(EcsRefusal):
    """More than 24 KB in base64, or longer than a host takes once its parameters are in."""

    code = "CmdContent.ExceedLimit"
    status = 403
    text = "The maximum length of a command is exceeded."


class ContentUndecodable(EcsRefusal):
    """Not base64, or not text."""

    code = "CmdContent.DecodeError"
    status = 400
    text = "The command content cannot be decoded: base64 of UTF-8 text is taken."


class CommandNameTooLong(EcsRefusal):
    """Too long a name."""

    code = "CmdName.ExceedLimit"
    status = 403
    text = "The length of the command name exceeds the upper limit of 128."


class CommandDescriptionTooLong(EcsRefusal):
    """Too long a description."""

    code = "CmdDesc.ExceedLimit"
    status = 403
    text = "The length of the command description exceeds the upper limit of 512."


class TooManyCommands(EcsRefusal):
    """The account has as many as it may."""

    code = "CmdCount.ExceedQuota"
    status = 403
    text = "The number of commands exceeds the upper limit."


class TimeoutExceeded(EcsRefusal):
    """Too long or too short a time."""

    code = "InvalidTimeout.ExceedLimit"
    status = 403
    text = "The timeout must be from 10 to 86400 seconds."


class WorkingDirRefused(EcsRefusal):
    """Too long a path."""

    code = "InvalidParameter.WorkingDir"
    status = 400
    text = "The specified parameter WorkingDir is not valid: at most 200 characters."


class LauncherRefused(EcsRefusal):
    """A launcher, which no script needs here."""

    code = "InvalidParameter.Launcher"
    status = 400
    text = "Launchers are not supported: begin the script with a line such as #!/usr/bin/env python3."


class ParameterNameEmpty(EcsRefusal):
    """`{{}}` in the content."""

    code = "CmdParam.EmptyKey"
    status = 400
    text = "A parameter of the command has an empty name."


class ParameterNameRefused(EcsRefusal):
    """A name that no parameter may have."""

    code = "CmdParam.InvalidParamName"
    status = 400
    text = "A parameter's name holds letters, digits, - and _ only, or is one of the built-in ACS:: ones."


class ParameterNameTooLong(EcsRefusal):
    """Too long a name of a parameter."""

    code = "CmdParamName.ExceedLimit"
    status = 403
    text = "The length of a parameter name exceeds the upper limit of 64."


class TooManyParameters(EcsRefusal):
    """More parameters than a command may have."""

    code = "CmdParamCount.ExceedLimit"
    status = 403
    text = "The number of parameters exceeds the upper limit of 20."


# --- Invocations ------------------------------------------------------------------------------------------------------


class InvocationNotFound(EcsRefusal):
    """No such invocation in this account."""

    code = "InvalidInvokeId.NotFound"
    status = 404
    text = "The specified invoke ID does not exist."


class InvocationQuotaExceeded(EcsRefusal):
    """The account has asked as often as it may today."""

    code = "Invocation.ExceedQuota"
    status = 403
    text = "The number of invocations of a day exceeds the upper limit."


class NotForThisInstance(EcsRefusal):
    """A Windows script for Linux, or the reverse."""

    code = "InvalidInstance.NotMatch"
    status = 400
    text = "The specified instance type does not match the command."


class RepeatModeNotFound(EcsRefusal):
    """No such way to repeat."""

    code = "InvalidRepeatMode.NotFound"
    status = 404
    text = "The specified RepeatMode does not exist."


class TerminationModeNotFound(EcsRefusal):
    """Neither Process nor ProcessTree."""

    code = "InvalidTerminationMode.NotFound"
    status = 404
    text = "The specified TerminationMode does not exist."


class FrequencyMissing(EcsRefusal):
    """A period without its frequency."""

    code = "MissingParam.Frequency"
    status = 400
    text = "The frequency must be specified when you create a scheduled task."


class FrequencyRefused(EcsRefusal):
    """A frequency that is not one, or too high."""

    code = "InvalidParam.Frequency"
    status = 400
    text = "The specified frequency is invalid."


class ParameterMissing(EcsRefusal):
    """The command has a parameter that was not given."""

    code = "Parameter.MissingValue"
    status = 400
    text = "A value is missing for a parameter of the command."


class ParametersDisabled(EcsRefusal):
    """Parameters for a command that takes none."""

    code = "Parameter.Disabled"
    status = 400
    text = "Parameters cannot be passed in when the command customization function is disabled."


class ParametersRefused(EcsRefusal):
    """Not a JSON object of texts."""

    code = "InvalidParameter.Parameters"
    status = 400
    text = "The specified parameter Parameters is not valid: a JSON object of texts."


class TooManyValues(EcsRefusal):
    """More parameters than one call may give."""

    code = "ParameterCount.ExceedLimit"
    status = 403
    text = "The number of parameters exceeds the upper limit of 10."


class ParameterKeyTooLong(EcsRefusal):
    """Too long a name."""

    code = "ParameterKey.ExceedLimit"
    status = 403
    text = "The length of a parameter key exceeds the upper limit of 64."


class ParameterNotMatched(EcsRefusal):
    """A parameter that the command does not have."""

    code = "Parameter.NotMatched"
    status = 403
    text = "The passed-in parameters do not match the parameters defined when you created the command."


class UsernameTooLong(EcsRefusal):
    """Too long a user name."""

    code = "Username.ExceedLimit"
    status = 403
    text = "The length of the user name exceeds the upper limit of 255."


class PasswordStoreNotSupported(EcsRefusal):
    """There is no parameter store here."""

    code = "ParameterStore.NotSupported"
    status = 403
    text = "Passwords in a parameter store are not supported by this installation."


class ContainersNotSupported(EcsRefusal):
    """A command for a container."""

    code = "InvalidContainerId.Malformed"
    status = 400
    text = "Containers are not supported by this installation."


class TooManyResourceTags(EcsRefusal):
    """More tags than may select instances."""

    code = "NumberExceed.ResourceTags"
    status = 400
    text = "The number of resource tags exceeds the upper limit."


class ResourceTagKeyMissing(EcsRefusal):
    """A selection by a tag without a key."""

    code = "MissingParameter.ResourceTagKey"
    status = 400
    text = "You must specify ResourceTag.N.Key."


class ResourceTagTwice(EcsRefusal):
    """The same key twice."""

    code = "Duplicate.ResourceTagKey"
    status = 400
    text = "The ResourceTag.N.Key contain duplicate key."


class ResourceTagInstancesNotFound(EcsRefusal):
    """A selection of nothing."""

    code = "InvalidResourceTag.InstanceNotFound"
    status = 400
    text = "No instance has the specified resource tags."


class ResourceTagConflict(EcsRefusal):
    """Instances both by tag and by id."""

    code = "InvalidResourceTag.ConflictWithInstanceIds"
    status = 400
    text = "ResourceTag and InstanceId cannot be specified together."


class NotSupported(EcsRefusal):
    """There is no OSS here."""

    code = "InvalidParameter.OssOutputDelivery"
    status = 400
    text = "Delivery of output to OSS is not supported by this installation."


# --- Files ------------------------------------------------------------------------------------------------------------


class TargetDirInvalid(EcsRefusal):
    """No absolute path."""

    code = "FileTargetDir.Invalid"
    status = 400
    text = "The target directory is invalid: an absolute path of at most 255 characters."


class FileModeInvalid(EcsRefusal):
    """No octal mode."""

    code = "FileMode.Invalid"
    status = 400
    text = "The file mode is invalid: three or four octal digits, such as 0644."


class FileContentUndecodable(EcsRefusal):
    """Not base64."""

    code = "FileContent.DecodeError"
    status = 400
    text = "The file content cannot be decoded: it is not base64."


class FileContentTypeInvalid(EcsRefusal):
    """Neither plain nor base64."""

    code = "FileContentType.Invalid"
    status = 400
    text = "The content type is invalid: PlainText or Base64."


class FileOwnerRefused(EcsRefusal):
    """A name no user has."""

    code = "InvalidParameter.FileOwner"
    status = 400
    text = "The specified parameter FileOwner is not valid."


class FileGroupRefused(EcsRefusal):
    """A name no group has."""

    code = "InvalidParameter.FileGroup"
    status = 400
    text = "The specified parameter FileGroup is not valid."


class FileTooLarge(EcsRefusal):
    """Too large a file."""

    code = "FileSize.ExceedLimit"
    status = 403
    text = "The maximum size of a file is exceeded: 32 KB in base64."


class FileNameRefused(EcsRefusal):
    """No name of a file."""

    code = "FileName.ExceedLimit"
    status = 403
    text = "The file name is invalid: 1 to 255 characters, and no slash."


class FileDescriptionTooLong(EcsRefusal):
    """Too long a description."""

    code = "FileDesc.ExceedLimit"
    status = 403
    text = "The length of the description exceeds the upper limit of 512."


# --- What they all check --------------------------------------------------------------------------------------------


PAGES = (BadPageNumber, BadPageSize)
"""What every list refuses."""


def check_region(call: Call, region: str | None) -> None:
    """Raises RegionNotFound unless it is this installation's."""
    if region != call.region:
        raise RegionNotFound
