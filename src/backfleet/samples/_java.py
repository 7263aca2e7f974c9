"""Java: the generic client."""

from backfleet.samples._call import SampleCall, Value
from backfleet.samples._quoting import java as quoted
from backfleet.samples._texts import AUTHORITY, KEY_ID, SECRET, TIMEOUT_MS, TOKEN, commented, header

JARS = "com.aliyun:tea-openapi and what it needs (`mvn dependency:copy-dependencies`), then `java -cp 'lib/*'`"

CALLING = """        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        PrintStream err = new PrintStream(System.err, true, "UTF-8");
        try {
            Map<String, ?> found = new Client(config).callApi(operation, request, new RuntimeOptions());
            Map<?, ?> answer = (Map<?, ?>) found.get("body");
            Gson json = new GsonBuilder().setPrettyPrinting().disableHtmlEscaping().serializeNulls().create();
            if (Boolean.FALSE.equals(answer.get("Success"))) {
                err.printf("%s: %s (RequestId %s)%n",
                        answer.get("Code"), answer.get("Message"), answer.get("RequestId"));
                System.exit(1);
            }
            out.println(json.toJson(answer));
        } catch (TeaException problem) {
            err.println(problem.getCode() + ": " + problem.getMessage());
            System.exit(1);
        }
"""


def write(call: SampleCall) -> str:
    """Return the code."""
    operation = call.operation
    puts = "".join(f"        parameters.put({quoted(value.name)}, {_text(value)});\n" for value in call.values)
    sent, kind = "setBody(parameters)", "Object"
    if operation.streams:
        sent, kind = f"setQuery(parameters).setStream(new java.io.FileInputStream({quoted(call.file)}))", "String"
    return f"""{commented(header(call, f"{JARS} with this file"), "//")}
import com.aliyun.tea.TeaException;
import com.aliyun.teaopenapi.Client;
import com.aliyun.teaopenapi.models.Config;
import com.aliyun.teaopenapi.models.OpenApiRequest;
import com.aliyun.teaopenapi.models.Params;
import com.aliyun.teautil.models.RuntimeOptions;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

public class {operation.name} {{
    public static void main(String[] args) throws Exception {{
{_config(call)}        Map<String, {kind}> parameters = new LinkedHashMap<>();
{puts}        OpenApiRequest request = new OpenApiRequest().{sent};
{CALLING}        System.exit(0); // the client's own threads would keep the process
    }}
}}
"""


def _config(call: SampleCall) -> str:
    operation, target = call.operation, call.target
    return f"""        Config config = new Config()
                .setAccessKeyId(System.getenv("{KEY_ID}"))
                .setAccessKeySecret(System.getenv("{SECRET}"))
                .setSecurityToken(System.getenv("{TOKEN}"))
                .setEndpoint({quoted(target.endpoint)})
                .setProtocol({quoted(target.protocol)})
                .setRegionId({quoted(target.region)})
                .setReadTimeout({TIMEOUT_MS})
                .setConnectTimeout({TIMEOUT_MS});
        String authority = System.getenv("{AUTHORITY}");
        if (authority != null) {{
            config.setCa(Files.readString(Path.of(authority)));
        }}
        Params operation = new Params()
                .setAction({quoted(operation.name)})
                .setVersion({quoted(operation.product.version)})
                .setProtocol({quoted(target.protocol)})
                .setMethod("POST")
                .setAuthType("AK")
                .setStyle("RPC")
                .setPathname("/")
                .setReqBodyType("formData")
                .setBodyType("json");
"""


def _text(value: Value) -> str:
    return f'System.getenv("{value.variable}")' if value.variable else quoted(value.text)
