"""TypeScript: the generic client."""

from backfleet.samples._call import SampleCall, Value
from backfleet.samples._quoting import typescript as quoted
from backfleet.samples._texts import AUTHORITY, KEY_ID, SECRET, TIMEOUT_MS, TOKEN, commented, header

PACKAGES = "`npm install @alicloud/openapi-client @alicloud/tea-util`"


def write(call: SampleCall) -> str:
    """Return the code."""
    pairs = "".join(f"  {quoted(value.name)}: {_text(value)},\n" for value in call.values)
    values = f"{{\n{pairs}}}" if pairs else "{}"
    sent = f"query: parameters, stream: fs.createReadStream({quoted(call.file)})"
    return f"""{commented(header(call, PACKAGES), "//")}
import * as fs from 'fs';
import OpenApi, {{ Config, OpenApiRequest, Params }} from '@alicloud/openapi-client';
import {{ RuntimeOptions }} from '@alicloud/tea-util';

const {{ env }} = process;
{_client(call)}const parameters = {values};

async function main(): Promise<void> {{
  const request = new OpenApiRequest({{ {sent if call.operation.streams else "body: parameters"} }});
  const {{ body }} = await client.callApi(operation, request, new RuntimeOptions({{}}));
  if (body.Success === false) {{
    throw Object.assign(new Error(`${{body.Message}} (RequestId ${{body.RequestId}})`), {{ code: body.Code }});
  }}
  console.log(JSON.stringify(body, null, 2));
}}

main().catch((problem) => {{
  console.error(problem.code ? `${{problem.code}}: ${{problem.message}}` : problem);
  process.exitCode = 1;
}});
"""


def _client(call: SampleCall) -> str:
    operation, target = call.operation, call.target
    return f"""const client = new OpenApi(new Config({{
  accessKeyId: env.{KEY_ID},
  accessKeySecret: env.{SECRET},
  securityToken: env.{TOKEN},
  ca: env.{AUTHORITY} ? fs.readFileSync(env.{AUTHORITY}, 'utf8') : undefined,
  endpoint: {quoted(target.endpoint)},
  protocol: {quoted(target.protocol)},
  regionId: {quoted(target.region)},
  readTimeout: {TIMEOUT_MS},
  connectTimeout: {TIMEOUT_MS},
}}));
const operation = new Params({{
  action: {quoted(operation.name)},
  version: {quoted(operation.product.version)},
  protocol: {quoted(target.protocol)},
  method: 'POST',
  authType: 'AK',
  style: 'RPC',
  pathname: '/',
  reqBodyType: 'formData',
  bodyType: 'json',
}});
"""


def _text(value: Value) -> str:
    return f"env.{value.variable}" if value.variable else quoted(value.text)
