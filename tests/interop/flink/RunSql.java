// Runs the statements of a file on an embedded Flink and writes what the queries returned, as JSON lines.
// A query is preceded by `-- expect NAME`; `%WAREHOUSE%` stands for the second argument.
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.StringJoiner;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

public class RunSql {
    public static void main(String[] args) throws Exception {
        Configuration said = new Configuration();
        said.setString("execution.runtime-mode", "batch");
        said.setString("parallelism.default", "1");
        said.setString("table.local-time-zone", "UTC");
        TableEnvironment flink =
                TableEnvironment.create(
                        EnvironmentSettings.newInstance().withConfiguration(said).build());
        String text = Files.readString(Path.of(args[0])).replace("%WAREHOUSE%", args[1]);
        try (PrintWriter out = new PrintWriter(args[2], "UTF-8")) {
            for (String each : text.split(";\\s*\n")) {
                String name = null;
                StringJoiner sql = new StringJoiner("\n");
                for (String line : each.split("\n")) {
                    if (line.startsWith("-- expect ")) name = line.substring(10).strip();
                    else if (!line.startsWith("--")) sql.add(line);
                }
                if (sql.toString().isBlank()) continue;
                long begin = System.currentTimeMillis();
                TableResult result;
                try {
                    result = flink.executeSql(sql.toString().strip());
                } catch (RuntimeException error) {
                    System.out.println("FAILED " + sql + "\n" + error + "\n" + error.getCause());
                    continue;
                }
                StringJoiner rows = new StringJoiner(",", "[", "]");
                if (name == null) result.await();
                if (name != null) try (CloseableIterator<Row> found = result.collect()) {
                    while (found.hasNext()) {
                        Row row = found.next();
                        StringJoiner values = new StringJoiner(",", "[", "]");
                        for (int i = 0; i < row.getArity(); i++) values.add(json(row.getField(i)));
                        rows.add(values.toString());
                    }
                }
                if (name != null) out.println("{\"name\":" + json(name) + ",\"rows\":" + rows + "}");
                System.out.println(
                        System.currentTimeMillis() - begin + " ms " + sql.toString().strip().split("\n")[0]);
            }
        }
    }

    private static String json(Object value) {
        if (value == null) return "null";
        if (value instanceof Boolean || value instanceof Integer || value instanceof Long
                || value instanceof Short || value instanceof Byte || value instanceof Double
                || value instanceof Float) return value.toString();
        if (value instanceof Object[]) {
            StringJoiner parts = new StringJoiner(",", "[", "]");
            for (Object part : (Object[]) value) parts.add(json(part));
            return parts.toString();
        }
        if (value instanceof byte[]) {
            StringBuilder hex = new StringBuilder();
            for (byte b : (byte[]) value) hex.append(String.format("%02x", b));
            return "\"" + hex + "\"";
        }
        return "\"" + value.toString().replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }
}
