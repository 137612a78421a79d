-- Run once, by the superuser, on an empty volume: Darkroom's role owns its database and nothing else.
\getenv password DATABASE_PASSWORD
CREATE ROLE darkroom LOGIN PASSWORD :'password';
CREATE DATABASE darkroom OWNER darkroom;
REVOKE CONNECT ON DATABASE darkroom FROM PUBLIC;
