import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.ToNumberPolicy;
import com.google.gson.reflect.TypeToken;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Makes one call of one official Java client for each line of standard input. The first line has the settings, in JSON:
 * client, endpoint, protocol, region, key, secret, ca (PEM text or nothing), attempts (of one call, by the client's own
 * retries); each later one: product, version, action, parameters (nested), flat. Prints a line for each: the body, or the code, text and status (0: not known) of an
 * error.
 */
public final class Calls {
    static final Gson JSON = new GsonBuilder()
            .disableHtmlEscaping().serializeNulls().setObjectToNumberStrategy(ToNumberPolicy.LONG_OR_DOUBLE).create();

    /** The settings of the first line. */
    record Settings(
            String client, String endpoint, String protocol, String region, String key, String secret, String ca, int attempts) {}

    /** One call. */
    record Asked(String product, String version, String action, Map<String, Object> parameters, Map<String, String> flat) {}

    /** One official client. */
    interface Client {
        Object call(Asked asked) throws Exception;
    }

    static Client client(Settings given) throws Exception {
        return switch (given.client()) {
            case "generic v3" -> NewClients.generic(given, null);
            case "generic v1" -> NewClients.generic(given, "v2"); // the client's name for signature version 1
            case "hbr20170908" -> NewClients.typed(given);
            case "legacy v1" -> LegacyClient.of(given, false);
            case "legacy v3" -> LegacyClient.of(given, true);
            default -> throw new IllegalArgumentException("no client " + given.client());
        };
    }

    static Map<String, ?> answer(Client client, String line) {
        try {
            return Map.of("body", client.call(JSON.fromJson(line, Asked.class)));
        } catch (Exception problem) {
            return described(problem);
        }
    }

    private static Map<String, ?> described(Exception problem) {
        StringBuilder causes = new StringBuilder(String.valueOf(problem.getMessage()));
        for (Throwable cause = problem.getCause(); cause != null; cause = cause.getCause()) {
            causes.append(": ").append(cause);
        }
        String text = causes.toString();
        if (problem instanceof com.aliyun.tea.TeaException tea && tea.getCode() != null) {
            return Map.of("code", tea.getCode(), "text", text, "status", tea.getStatusCode() == null ? 0 : tea.getStatusCode());
        }
        if (problem instanceof com.aliyuncs.exceptions.ClientException legacy && legacy.getErrCode() != null) {
            return Map.of("code", legacy.getErrCode(), "text", text, "status", 0);
        }
        return Map.of("code", problem.getClass().getSimpleName(), "text", text, "status", 0);
    }

    public static void main(String[] none) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err); // nothing that a library prints is an answer
        Client client = client(JSON.fromJson(lines.readLine(), Settings.class));
        out.println("{}");
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            out.println(JSON.toJson(answer(client, line)));
        }
        System.exit(0); // the clients' own threads would keep the process
    }
}
