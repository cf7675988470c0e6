-- The history as one table, a row for each run and metric. Paste it into "Init SQL" of Grafana's DuckDB data source,
-- with the folder that you gave to `perfcheck run --history`.
CREATE OR REPLACE VIEW perfcheck_history AS
SELECT CAST(started_at AS TIMESTAMP) AS time,
       run_id,
       scenario,
       concat_ws(' ', scenario, nullif(point, '')) AS series,
       machine,
       emulators,
       verdict,
       json_extract_string(environment, '$."kernel.release"') AS kernel,
       json_extract_string(environment, '$."version.perfcheck"') AS version,
       regexp_extract(metric, '^[^@/]+') AS metric,
       concat_ws(' ', coalesce(nullif(regexp_extract(metric, '@([^/]*)', 1), ''), 'whole run'),
                 nullif(regexp_extract(metric, '/(.*)$', 1), '')) AS subject,
       unit,
       median(value) AS value,
       count(DISTINCT trial) AS trials
FROM read_parquet('/var/lib/perfcheck/history/*/*.parquet', union_by_name = true)
WHERE schema = 1 AND value IS NOT NULL
GROUP BY ALL;
