//! What the HTTP server says by itself.

texts! {
    "the local socket is for root and group berth" => "le socket local est pour root et le groupe berth";
    "use sudo, or join the group" => "utilisez sudo, ou rejoignez le groupe";
    "the body did not come within {seconds} s" => "le corps n’est pas arrivé en {seconds} s";
    "send it again" => "renvoyez-le";
    "the body is larger than {size} KiB" => "le corps dépasse {size} Kio";
    "archives go to POST /api/v1/templates/upload" => "les archives vont à POST /api/v1/templates/upload";
    "the body came too slowly" => "le corps est arrivé trop lentement";
    "the body is too large" => "le corps est trop grand";
    "this is not allowed" => "ce n’est pas permis";
    "there is nothing at this address" => "il n’y a rien à cette adresse";
    "this address does not know that method" => "cette adresse ne connaît pas cette méthode";
    "the request took too long" => "la requête a pris trop de temps";
    "the body is larger than is allowed here" => "le corps est plus grand que ce qui est permis ici";
    "the headers are too large" => "les en-têtes sont trop grands";
    "the console failed" => "la console a échoué";
    "the request is not understood" => "la requête n’est pas comprise";
    "this console does not answer to that name" => "cette console ne répond pas à ce nom";
    "use the address it listens on, or set public-url" => "utilisez l’adresse où elle écoute, ou réglez public-url";
    "the request does not come from this console's own pages" => "la requête ne vient pas des pages de cette console";
    "send the Origin header of the console, or use a token" => "envoyez l’en-tête Origin de la console, ou utilisez un jeton";
    "too many requests from this address" => "trop de requêtes depuis cette adresse";
    "a token does not belong into an address" => "un jeton n’a pas sa place dans une adresse";
    "send it as `Authorization: Bearer`, and revoke this one" => "envoyez-le comme `Authorization: Bearer`, et révoquez celui-ci";
    "the body is not marked as JSON" => "le corps n’est pas annoncé comme JSON";
    "send `Content-Type: application/json`" => "envoyez `Content-Type: application/json`";
    "the body is wrong: {error}" => "le corps est incorrect\u{202f}: {error}";
    "{count} event streams are open" => "{count} flux d’événements sont ouverts";
    "close tabs, or try again in 60 s" => "fermez des onglets, ou réessayez dans 60 s";
    "you have {own} event streams open, and {most} is the most" => "vous avez {own} flux d’événements ouverts, et {most} est le maximum";
    "there is no such event stream" => "ce flux d’événements n’existe pas";
    "open one with GET /api/v1/events" => "ouvrez-en un par GET /api/v1/events";
    "what was missed can no longer be replayed" => "ce qui a été manqué ne peut plus être rejoué";
    "this stream was too slow" => "ce flux était trop lent";
    "the account `{name}` was removed meanwhile" => "le compte `{name}` a été supprimé entre-temps";
    "your sign-in has ended" => "votre session a pris fin";
    "the console ends; what runs inside goes on" => "la console s’arrête\u{202f}; ce qui s’exécute à l’intérieur continue";
    "the terminal was cut off" => "le terminal a été coupé";
    "the request has no context" => "la requête n’a pas de contexte";
    "nothing" => "rien";
    "missing field `{name}`" => "il manque le champ `{name}`";
    "unknown field `{name}`, expected {names}" => "champ `{name}` inconnu, attendu\u{202f}: {names}";
    "unknown variant `{name}`, expected {names}" => "valeur `{name}` inconnue, attendu\u{202f}: {names}";
    "invalid type: {found}, expected {wanted}" => "type incorrect\u{202f}: {found}, attendu\u{202f}: {wanted}";
    "invalid value: {found}, expected {wanted}" => "valeur incorrecte\u{202f}: {found}, attendu\u{202f}: {wanted}";
    "{error} at line {=line} column {=column}" => "{error} à la ligne {line}, colonne {column}";
}
