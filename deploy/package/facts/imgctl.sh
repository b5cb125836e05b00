summary='builds the operating-system images of mixed-architecture clusters'
description="The command for users and administrators: it talks to the coordinator on the management node, which holds
osimage definitions and gives builds to agents on build nodes."
