"""Errors of ECS operations, as a table: code, HTTP status, meaning, and the text that callers read.

Source: the public error tables of ECS 2014-05-26, as of 2025.
"""

from typing import ClassVar

from backfleet.wire.errors import ApiError


class EcsError(ApiError):
    """An error of an ECS operation. Its text is that of the table unless a better one is given."""

    text: ClassVar[str] = ""

    def __init__(self, text: str = "") -> None:
        super().__init__(text or self.text)


def _error(status: int, code: str, meaning: str, text: str) -> type[EcsError]:
    """Return the class of one error; `meaning` describes it in the reference."""
    return type(code.replace(".", ""), (EcsError,), {"code": code, "status": status, "text": text, "__doc__": meaning})


# One row per error: status, code and meaning, then the text.
# fmt: off

# --- Every operation ------------------------------------------------------------------------------------------------

RegionNotFound = _error(
    404, "InvalidRegionId.NotFound", "The RegionId is not the region of this installation.",
    "The RegionId provided does not exist in our records.",
)
BadPageNumber = _error(
    400, "InvalidParam.PageNumber", "The page number is out of range.",
    "The specified parameter is invalid: PageNumber is from 1 to 1000000.",
)
BadPageSize = _error(
    400, "InvalidParam.PageSize", "The page size is out of range.",
    "The specified parameter is invalid: PageSize.",
)
BadNextToken = _error(
    400, "InvalidParameter.NextToken", "The NextToken is not one that this server returned.",
    "The specified parameter is invalid: NextToken is not one this server gave.",
)
BadMaxResults = _error(
    400, "InvalidParameter.MaxResults", "MaxResults is not a whole number.",
    "The specified parameter is invalid: MaxResults.",
)
IdempotentMismatch = _error(
    403, "IdempotentParameterMismatch", "The ClientToken was used before, with other parameters.",
    "The specified parameter has changed while using an already used clientToken.",
)
BadClientToken = _error(
    400, "InvalidClientToken.Malformed", "The ClientToken is too long or not ASCII.",
    "The specified parameter ClientToken is not valid: at most 64 ASCII characters.",
)

# --- Instances ------------------------------------------------------------------------------------------------------

InstanceNotFound = _error(
    404, "InvalidInstance.NotFound", "The account has no such instance.",
    "The specified instances not found.",
)
InstanceIdNotFound = _error(
    404, "InvalidInstanceId.NotFound", "The invocation does not have this instance.",
    "The specified InstanceId does not exist.",
)
TooManyIds = _error(
    403, "InstanceIds.ExceedLimit", "There are more instance ids than one call may have.",
    "The number of instance IDs exceeds the upper limit.",
)
NoInstance = _error(
    400, "MissingParam.InstanceId", "The call names no instance and needs one.",
    "The parameter instanceId is missing or empty.",
)
NameRefused = _error(
    400, "InvalidInstanceName.Malformed", "An instance may not have this name.",
    "The specified InstanceName is not valid: 2 to 128 characters, and no http:// or https://.",
)
DryRun = _error(
    400, "DryRunOperation", "The request is valid, and nothing was done, as DryRun asked.",
    "Request validation has been passed with DryRun flag set.",
)

# --- Activations ----------------------------------------------------------------------------------------------------

ActivationCountExceeded = _error(
    400, "ActivationCount.ExceedLimit", "The number of hosts is out of range.",
    "InstanceCount must be from 1 to 1000.",
)
ActivationHoursExceeded = _error(
    400, "ActivationTTL.ExceedLimit", "The lifetime is out of range.",
    "TimeToLiveInHours must be from 1 to 24.",
)
ActivationNameTooLong = _error(
    400, "InstanceName.ExceedLimit", "The name prefix is too short or too long.",
    "InstanceName must have 2 to 50 characters.",
)
ActivationNameRefused = _error(
    400, "InstanceName.InvalidPattern", "The name prefix has characters that are not allowed.",
    "InstanceName must start with a letter and hold letters, digits and . _ : -",
)
ActivationDescriptionTooLong = _error(
    400, "ActivationDesc.ExceedLimit", "The description is too long.",
    "Description must have at most 100 characters.",
)
AddressRangeRefused = _error(
    400, "AddressRange.InvalidPattern", "The address range is neither an address nor a network.",
    "IpAddressRange must be an address or a network such as 10.0.0.0/8.",
)
ActivationNotFound = _error(
    404, "InvalidActivationId.NotFound", "The account has no such activation.",
    "The specified activation ID does not exist.",
)
ActivationInUse = _error(
    403, "Activation.Used", "Instances that enrolled with the activation are still registered.",
    "The activation has registered instances and cannot be deleted: disable it.",
)

# --- Tags -----------------------------------------------------------------------------------------------------------

TooManyTags = _error(
    400, "NumberExceed.Tags", "A resource may not have that many tags.",
    "The number of tags exceeds the upper limit of 20.",
)
TagKeyMissing = _error(
    400, "MissingParameter.TagKey", "A tag has no key.",
    "You must specify Tag.N.Key.",
)
TagKeyTwice = _error(
    400, "Duplicate.TagKey", "Two tags of one call have the same key.",
    "The Tag.N.Key contain duplicate key.",
)
TagKeyMalformed = _error(
    400, "InvalidTagKey.Malformed", "A tag may not have this key.",
    "The specified Tag.n.Key is not valid: 1 to 64 characters, not acs: or aliyun at its start, no "
    "http:// or https://.",
)
TagValueMalformed = _error(
    400, "InvalidTagValue.Malformed", "A tag may not have this value.",
    "The specified Tag.n.Value is not valid: at most 128 characters, no http:// or https://.",
)
ResourceTypeNotFound = _error(
    404, "InvalidResourceType.NotFound", "Resources of this type have no tags here.",
    "The ResourceType provided does not exist in our records.",
)
ResourceNotFound = _error(
    404, "InvalidResourceId.NotFound", "The account does not have one of these resources.",
    "The specified ResourceIds are not found in our records.",
)
NoResource = _error(
    400, "MissingParameter.ResourceIds", "The call names no resource and needs one.",
    "You must specify ResourceId.N.",
)
TooManyResources = _error(
    400, "NumberExceed.ResourceIds", "There are more resources than one call may have.",
    "The number of resource IDs exceeds the upper limit of 50.",
)
NoTagToRemove = _error(
    400, "MissingParameter.TagKeys", "The call names no tag to remove.",
    "You must specify TagKey.N, or All.",
)

# --- Commands -------------------------------------------------------------------------------------------------------

CommandNotFound = _error(
    404, "InvalidCmdId.NotFound", "The account has no such command.",
    "The specified command ID does not exist.",
)
CommandTypeNotFound = _error(
    404, "InvalidCmdType.NotFound", "The type is neither shell, batch nor PowerShell.",
    "The specified command type does not exist.",
)
ContentTooLong = _error(
    403, "CmdContent.ExceedLimit",
    "The content has more than 24 KB in base64, or is too long for a host once its parameters are filled in.",
    "The maximum length of a command is exceeded.",
)
ContentUndecodable = _error(
    400, "CmdContent.DecodeError", "The content is not base64, or not text.",
    "The command content cannot be decoded: base64 of UTF-8 text is taken.",
)
CommandNameTooLong = _error(
    403, "CmdName.ExceedLimit", "The name is too long.",
    "The length of the command name exceeds the upper limit of 128.",
)
CommandDescriptionTooLong = _error(
    403, "CmdDesc.ExceedLimit", "The description is too long.",
    "The length of the command description exceeds the upper limit of 512.",
)
TooManyCommands = _error(
    403, "CmdCount.ExceedQuota", "The account has as many commands as it may.",
    "The number of commands exceeds the upper limit.",
)
TimeoutExceeded = _error(
    403, "InvalidTimeout.ExceedLimit", "The timeout is out of range.",
    "The timeout must be from 10 to 86400 seconds.",
)
WorkingDirRefused = _error(
    400, "InvalidParameter.WorkingDir", "The path is too long.",
    "The specified parameter WorkingDir is not valid: at most 200 characters.",
)
LauncherRefused = _error(
    400, "InvalidParameter.Launcher", "A launcher is given; this installation has none.",
    "Launchers are not supported: begin the script with a line such as #!/usr/bin/env python3.",
)
ParameterNameEmpty = _error(
    400, "CmdParam.EmptyKey", "The content has a parameter without a name, `{{}}`.",
    "A parameter of the command has an empty name.",
)
ParameterNameRefused = _error(
    400, "CmdParam.InvalidParamName", "A parameter may not have this name.",
    "A parameter's name holds letters, digits, - and _ only, or is one of the built-in ACS:: ones.",
)
ParameterNameTooLong = _error(
    403, "CmdParamName.ExceedLimit", "The name of a parameter is too long.",
    "The length of a parameter name exceeds the upper limit of 64.",
)
TooManyParameters = _error(
    403, "CmdParamCount.ExceedLimit", "A command may not have that many parameters.",
    "The number of parameters exceeds the upper limit of 20.",
)

# --- Invocations ----------------------------------------------------------------------------------------------------

InvocationNotFound = _error(
    404, "InvalidInvokeId.NotFound", "The account has no such invocation.",
    "The specified invoke ID does not exist.",
)
InvocationQuotaExceeded = _error(
    403, "Invocation.ExceedQuota", "The account has made as many invocations today as it may.",
    "The number of invocations of a day exceeds the upper limit.",
)
NotForThisInstance = _error(
    400, "InvalidInstance.NotMatch", "The script is for Windows and the instance is not, or the reverse.",
    "The specified instance type does not match the command.",
)
RepeatModeNotFound = _error(
    404, "InvalidRepeatMode.NotFound", "There is no such RepeatMode.",
    "The specified RepeatMode does not exist.",
)
TerminationModeNotFound = _error(
    404, "InvalidTerminationMode.NotFound", "The mode is neither Process nor ProcessTree.",
    "The specified TerminationMode does not exist.",
)
FrequencyMissing = _error(
    400, "MissingParam.Frequency", "The RepeatMode is Period, and no frequency is given.",
    "The frequency must be specified when you create a scheduled task.",
)
FrequencyRefused = _error(
    400, "InvalidParam.Frequency", "The frequency has no known form, is too high, or has no time to come.",
    "The specified frequency is invalid.",
)
ParameterMissing = _error(
    400, "Parameter.MissingValue", "The command has a parameter that is not given.",
    "A value is missing for a parameter of the command.",
)
ParametersDisabled = _error(
    400, "Parameter.Disabled", "Parameters are given, and the command takes none.",
    "Parameters cannot be passed in when the command customization function is disabled.",
)
ParametersRefused = _error(
    400, "InvalidParameter.Parameters", "The parameters are not a JSON object of texts.",
    "The specified parameter Parameters is not valid: a JSON object of texts.",
)
TooManyValues = _error(
    403, "ParameterCount.ExceedLimit", "There are more parameters than one call may have.",
    "The number of parameters exceeds the upper limit of 10.",
)
ParameterKeyTooLong = _error(
    403, "ParameterKey.ExceedLimit", "The name of a parameter is too long.",
    "The length of a parameter key exceeds the upper limit of 64.",
)
ParameterNotMatched = _error(
    403, "Parameter.NotMatched", "The command does not have one of the parameters.",
    "The passed-in parameters do not match the parameters defined when you created the command.",
)
UsernameTooLong = _error(
    403, "Username.ExceedLimit", "The user name is too long.",
    "The length of the user name exceeds the upper limit of 255.",
)
PasswordStoreNotSupported = _error(
    403, "ParameterStore.NotSupported", "A password in a parameter store is named; this installation has none.",
    "Passwords in a parameter store are not supported by this installation.",
)
ContainersNotSupported = _error(
    400, "InvalidContainerId.Malformed", "A container is named; this installation runs no commands in containers.",
    "Containers are not supported by this installation.",
)
TooManyResourceTags = _error(
    400, "NumberExceed.ResourceTags", "There are more tags than may select instances.",
    "The number of resource tags exceeds the upper limit.",
)
ResourceTagKeyMissing = _error(
    400, "MissingParameter.ResourceTagKey", "A tag that selects instances has no key.",
    "You must specify ResourceTag.N.Key.",
)
ResourceTagTwice = _error(
    400, "Duplicate.ResourceTagKey", "Two tags that select instances have the same key.",
    "The ResourceTag.N.Key contain duplicate key.",
)
ResourceTagInstancesNotFound = _error(
    400, "InvalidResourceTag.InstanceNotFound", "No instance has these tags.",
    "No instance has the specified resource tags.",
)
ResourceTagConflict = _error(
    400, "InvalidResourceTag.ConflictWithInstanceIds", "Instances are named both by tags and by ids.",
    "ResourceTag and InstanceId cannot be specified together.",
)
OssDeliveryNotSupported = _error(
    400, "InvalidParameter.OssOutputDelivery", "A delivery to OSS is asked for; this installation has none.",
    "Delivery of output to OSS is not supported by this installation.",
)

# --- Files ----------------------------------------------------------------------------------------------------------

TargetDirInvalid = _error(
    400, "FileTargetDir.Invalid", "The directory is not an absolute path, or too long.",
    "The target directory is invalid: an absolute path of at most 255 characters.",
)
FileModeInvalid = _error(
    400, "FileMode.Invalid", "The mode is not octal.",
    "The file mode is invalid: three or four octal digits, such as 0644.",
)
FileContentUndecodable = _error(
    400, "FileContent.DecodeError", "The content is not base64.",
    "The file content cannot be decoded: it is not base64.",
)
FileContentTypeInvalid = _error(
    400, "FileContentType.Invalid", "The content type is neither PlainText nor Base64.",
    "The content type is invalid: PlainText or Base64.",
)
FileOwnerRefused = _error(
    400, "InvalidParameter.FileOwner", "A user may not have this name.",
    "The specified parameter FileOwner is not valid.",
)
FileGroupRefused = _error(
    400, "InvalidParameter.FileGroup", "A group may not have this name.",
    "The specified parameter FileGroup is not valid.",
)
FileTooLarge = _error(
    403, "FileSize.ExceedLimit", "The file is too large.",
    "The maximum size of a file is exceeded: 32 KB in base64.",
)
FileNameRefused = _error(
    403, "FileName.ExceedLimit", "A file may not have this name.",
    "The file name is invalid: 1 to 255 characters, and no slash.",
)
FileDescriptionTooLong = _error(
    403, "FileDesc.ExceedLimit", "The description is too long.",
    "The length of the description exceeds the upper limit of 512.",
)
# fmt: on
