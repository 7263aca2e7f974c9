import com.aliyuncs.CommonRequest;
import com.aliyuncs.DefaultAcsClient;
import com.aliyuncs.auth.SignatureVersion;
import com.aliyuncs.auth.signers.SignatureAlgorithm;
import com.aliyuncs.http.HttpClientConfig;
import com.aliyuncs.http.MethodType;
import com.aliyuncs.http.ProtocolType;
import com.aliyuncs.policy.retry.RetryPolicy;
import com.aliyuncs.profile.DefaultProfile;
import com.google.gson.JsonParser;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** The common request of the Java core, signed with either version. */
final class LegacyClient {
    private static final int TIMEOUT_MS = 60_000; // of one request

    private LegacyClient() {}

    static Calls.Client of(Calls.Settings given, boolean third) throws Exception {
        DefaultProfile profile = DefaultProfile.getProfile(given.region(), given.key(), given.secret());
        HttpClientConfig http = HttpClientConfig.getDefault();
        if (given.ca() != null) {
            http.setX509TrustManagers(new X509TrustManager[] {trusting(given.ca())});
        }
        profile.setHttpClientConfig(http);
        DefaultAcsClient client = new DefaultAcsClient(profile);
        return asked -> {
            CommonRequest request = new CommonRequest();
            request.setSysDomain(given.endpoint());
            request.setSysVersion(asked.version());
            request.setSysAction(asked.action());
            request.setSysProtocol(ProtocolType.valueOf(given.protocol()));
            request.setSysMethod(MethodType.POST);
            request.setSysConnectTimeout(TIMEOUT_MS);
            request.setSysReadTimeout(TIMEOUT_MS);
            request.setSysRetryPolicy(given.attempts() > 1
                    ? RetryPolicy.defaultRetryPolicy(false).toBuilder().maxNumberOfRetries(given.attempts() - 1).build()
                    : RetryPolicy.none()); // one try, as the others
            if (third) {
                request.setSysSignatureVersion(SignatureVersion.V3);
                request.setSysSignatureAlgorithm(SignatureAlgorithm.ACS3_HMAC_SHA256);
            }
            asked.flat().forEach(request::putQueryParameter);
            return JsonParser.parseString(client.getCommonResponse(request).getData());
        };
    }

    private static X509TrustManager trusting(String authority) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        store.setCertificateEntry("ours", CertificateFactory.getInstance("X.509")
                .generateCertificate(new ByteArrayInputStream(authority.getBytes(StandardCharsets.US_ASCII))));
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return (X509TrustManager) factory.getTrustManagers()[0];
    }
}
