import com.aliyun.tea.TeaModel;
import com.aliyun.teaopenapi.Client;
import com.aliyun.teaopenapi.models.Config;
import com.aliyun.teaopenapi.models.OpenApiRequest;
import com.aliyun.teaopenapi.models.Params;
import com.aliyun.teautil.models.RuntimeOptions;
import com.google.gson.Gson;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;

/** The new client: its generic call, and the typed client of HBR. */
final class NewClients {
    private static final int TIMEOUT_MS = 60_000; // of one request; the client's own limits are too short under load

    private NewClients() {}

    static Calls.Client generic(Calls.Settings given, String algorithm) throws Exception {
        Client client = new Client(config(given).setSignatureAlgorithm(algorithm));
        return asked -> client.callApi(
                new Params().setAction(asked.action()).setVersion(asked.version()).setProtocol(given.protocol()).setPathname("/")
                        .setMethod("POST").setAuthType("AK").setStyle("RPC").setReqBodyType("formData").setBodyType("json"),
                new OpenApiRequest().setQuery(asked.flat()), retrying(given)).get("body");
    }

    /** Requests are built from their models, answers written from theirs. */
    static Calls.Client typed(Calls.Settings given) throws Exception {
        var client = new com.aliyun.hbr20170908.Client(config(given));
        return asked -> {
            String name = Character.toLowerCase(asked.action().charAt(0)) + asked.action().substring(1);
            Method method = Arrays.stream(client.getClass().getMethods())
                    .filter(one -> one.getName().equals(name) && one.getParameterCount() <= 1).findFirst().orElseThrow();
            try {
                Object answer = method.getParameterCount() == 0 ? method.invoke(client) : method.invoke(client,
                        TeaModel.build(asked.parameters(), (TeaModel) method.getParameterTypes()[0].getConstructor().newInstance()));
                return new Gson().toJsonTree( // without the members that are not set
                        TeaModel.buildMap((TeaModel) answer.getClass().getField("body").get(answer)));
            } catch (InvocationTargetException failed) {
                throw (Exception) failed.getCause();
            }
        };
    }

    private static RuntimeOptions retrying(Calls.Settings given) {
        return given.attempts() > 1 ? new RuntimeOptions().setAutoretry(true).setMaxAttempts(given.attempts()) : new RuntimeOptions();
    }

    private static Config config(Calls.Settings given) {
        return new Config().setAccessKeyId(given.key()).setAccessKeySecret(given.secret()).setEndpoint(given.endpoint())
                .setProtocol(given.protocol()).setRegionId(given.region()).setCa(given.ca())
                .setReadTimeout(TIMEOUT_MS).setConnectTimeout(TIMEOUT_MS);
    }
}
