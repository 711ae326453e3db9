import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.TrustManagerFactory;

/**
 * The HTTP client and the TLS of the JDK by the names that pass the relay unopened: both names, HTTP/1.1 and HTTP/2, TLS 1.2
 * and 1.3.
 *
 * usage: java PassedClient.java DEMO.JSON    (the file that `DEMO_JSON=… make demo` writes)
 */
public class PassedClient {
    static final int MEGABYTE = 1 << 20;
    static String demo;
    static String key;
    static int checks;

    public static void main(String[] arguments) throws Exception {
        demo = Files.readString(Path.of(arguments[0]));
        key = value("caller_key");
        // Names under .localhost mean this machine (RFC 6761, section 6.3); with this file no other is looked up anywhere.
        Path hosts = Files.createTempFile("outhaul-", ".hosts");
        String[] bases = {value("pass_through_base_url"), value("customer_base_url")};
        var lines = new StringBuilder();
        for (String base : bases) {
            lines.append("127.0.0.1 ").append(URI.create(base).getHost()).append('\n');
        }
        Files.writeString(hosts, lines);
        System.setProperty("jdk.net.hosts.file", hosts.toString());
        try {
            for (String base : bases) {
                strangers(base);
                for (String protocol : new String[] {"TLSv1.2", "TLSv1.3"}) {
                    for (var version : HttpClient.Version.values()) {
                        wholeRun(base, version, protocol);
                    }
                }
            }
        } finally {
            Files.delete(hosts);
        }
        System.out.println(checks + " checks");
    }

    /** A client with the authorities of the JDK alone: it does not know the demo's. */
    static void strangers(String base) throws Exception {
        String refused = "";
        try {
            HttpClient.newHttpClient().send(request(base, "/rest/api/2/serverInfo").build(), BodyHandlers.ofString());
        } catch (SSLException error) {
            refused = error.getMessage();
        }
        check("without the authority there is no connection", refused.contains("unable to find valid certification path"), refused);
    }

    static void wholeRun(String base, HttpClient.Version version, String protocol) throws Exception {
        System.out.println(base + " " + version + " " + protocol);
        SSLContext trust = trust();
        var parameters = trust.getDefaultSSLParameters();
        parameters.setProtocols(new String[] {protocol});
        var client = HttpClient.newBuilder().version(version).sslContext(trust).sslParameters(parameters)
                .connectTimeout(Duration.ofSeconds(30)).build();

        var read = client.send(request(base, "/rest/api/2/issue/DEMO-1?fields=summary").build(), BodyHandlers.ofString());
        check("GET", read.statusCode() == 200 && read.body().contains("\"DEMO-1\""), read);
        check("by the wanted version of HTTP", read.version() == version, read.version());
        var session = read.sslSession().orElseThrow();
        check("and of TLS", session.getProtocol().equals(protocol), session.getProtocol());
        var shown = (X509Certificate) session.getPeerCertificates()[0];
        check("TLS ends at the agent", shown.getSubjectX500Principal().getName().contains("CN=Outhaul demo direct"), shown);

        String text = "From Java " + version + " " + protocol + ", äöü € 😀";
        var said = client.send(request(base, "/rest/api/2/issue/DEMO-1/comment").header("Content-Type", "application/json")
                .POST(BodyPublishers.ofString("{\"body\":\"" + text + "\"}")).build(), BodyHandlers.ofString());
        check("POST", said.statusCode() == 201 && said.body().contains(text), said.body());
        check("and it was done", state().contains(text), said.body());

        byte[] data = new byte[MEGABYTE];
        new Random().nextBytes(data);
        byte[] before = ("--part\r\nContent-Disposition: form-data; name=\"file\"; filename=\"java.bin\"\r\n"
                + "Content-Type: application/octet-stream\r\n\r\n").getBytes();
        byte[] after = "\r\n--part--\r\n".getBytes();
        byte[] body = Arrays.copyOf(before, before.length + data.length + after.length);
        System.arraycopy(data, 0, body, before.length, data.length);
        System.arraycopy(after, 0, body, before.length + data.length, after.length);
        var attached = client.send(request(base, "/rest/api/2/issue/DEMO-1/attachments")
                .header("Content-Type", "multipart/form-data; boundary=part").header("X-Atlassian-Token", "no-check")
                .POST(BodyPublishers.ofByteArray(body)).build(), BodyHandlers.ofString());
        String sum = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
        check("1 MB up", attached.statusCode() == 200 && state().contains(sum), attached.body());
        String content = find(attached.body(), "content");
        check("its link leads back by the same name", content.startsWith(base + "/secure/attachment/"), content);
        var down = client.send(request(content, "").build(), BodyHandlers.ofByteArray());
        check("1 MB down", down.statusCode() == 200 && Arrays.equals(down.body(), data), down.body().length);

        var refused = client.send(request(base, "/rest/pat/latest/tokens").build(), BodyHandlers.ofString());
        check("a call that no rule allows", problem(refused).equals("403 policy-refused"), refused);
        var nobody = HttpRequest.newBuilder(URI.create(base + "/rest/api/2/serverInfo")).timeout(Duration.ofSeconds(60))
                .header("Authorization", "Bearer ohk_nobody0000000_x").build();
        var unknown = client.send(nobody, BodyHandlers.ofString());
        check("a caller nobody knows", problem(unknown).equals("401 caller-unknown"), unknown);

        // Many at once: on one connection by HTTP/2.
        var calls = new TreeSet<Integer>();
        var under = new ArrayList<CompletableFuture<HttpResponse<String>>>();
        for (int count = 0; count < 20; count++) {
            under.add(client.sendAsync(request(base, "/rest/api/2/issue/DEMO-1").build(), BodyHandlers.ofString()));
        }
        for (var one : under) {
            calls.add(one.get().statusCode());
        }
        check("twenty at once", calls.equals(new TreeSet<>(List.of(200))), calls);
    }

    static HttpRequest.Builder request(String base, String path) {
        return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(60))
                .header("Authorization", "Bearer " + key);
    }

    static String problem(HttpResponse<String> answer) {
        return answer.statusCode() + " " + answer.headers().firstValue("Outhaul-Problem").orElse("none");
    }

    /** The stand-in's state, as JSON text. */
    static String state() throws Exception {
        var request = HttpRequest.newBuilder(URI.create(value("jira_control_url") + "/state")).build();
        return HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body();
    }

    /** A trust store that holds the demo's authority and no other. */
    static SSLContext trust() throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = Files.newInputStream(Path.of(value("ca_file")))) {
            store.setCertificateEntry("demo", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    static String value(String name) {
        return find(demo, name);
    }

    /** A member of a flat JSON object; the JDK has no reader of JSON. */
    static String find(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"\\\\]*)\"").matcher(json);
        if (!found.find()) {
            throw new IllegalStateException("no \"" + name + "\" in " + json);
        }
        return found.group(1);
    }

    static void check(String what, boolean holds, Object found) {
        if (!holds) {
            System.out.println("FAILED: " + what + ": " + found);
            System.exit(1);
        }
        checks++;
        System.out.println("  ok  " + what);
    }
}
